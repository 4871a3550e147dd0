"""Whether anything in an HTML page could run, load or redirect, found without a browser."""

from html.parser import HTMLParser
from typing import Any

_TAGS = (
    "html head meta title style body header h1 h2 h3 h4 h5 h6 p span code ul ol li main article time a div"
    " pre details summary b small footer em strong s blockquote hr br table thead tbody tr th td"
)
_ALLOWED = frozenset(_TAGS.split())
_NAMES = (
    "lang charset http-equiv content name class aria-label id datetime href rel data-language start title"
)
_ATTRIBUTES = frozenset([*_NAMES.split(), "title"])


class Rules(HTMLParser):
    """`found` says what it has that it must not have; `ids` are the anchors. `script` is the one allowed."""

    def __init__(self, script: str | None = None) -> None:
        super().__init__(convert_charrefs=True)
        self._script = script
        self._scripts: list[str] | None = None  # the pieces of the script that is being read
        self.found: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        if tag == "script" and self._script is not None:
            self._scripts = []
        elif tag not in _ALLOWED:
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            if name not in _ATTRIBUTES:
                self.found.append(f"{tag} {name}")
            if name == "href" and not str(value).lower().startswith(("http://", "https://", "mailto:", "#m")):
                self.found.append(f"href={value}")
            if name == "href" and not str(value).startswith("#") and ("rel", _REL) not in attrs:
                self.found.append(f"no rel: {value}")
            if name == "http-equiv" and value != "Content-Security-Policy":
                self.found.append(f"http-equiv={value}")
            if name == "id":
                self.ids.append(value)

    def handle_endtag(self, tag: str) -> None:
        if tag == "script" and self._scripts is not None:
            if "".join(self._scripts) != self._script:
                self.found.append("another script")
            self._scripts = None

    def handle_data(self, data: str) -> None:
        (self.text if self._scripts is None else self._scripts).append(data)


_REL = "noopener noreferrer nofollow"

HOSTILE = (
    "<script>document.documentElement.dataset.ran=1</script>",
    '<img src=x onerror="document.documentElement.dataset.ran=1">',
    '<svg onload="document.documentElement.dataset.ran=1"><animate onbegin=alert(1)>',
    "[click](javascript:document.documentElement.dataset.ran=1)",
    "[click](JaVa&#115;cript:alert(1))",
    "[click](\x01javascript:alert(1))",
    "[click](data:text/html;base64,PHNjcmlwdD4=)",
    "[click](vbscript:x)",
    "[a]: javascript:alert(1)\n\n[a]",
    "<javascript:alert(1)>",
    "![x](https://tracker.example/pixel.png)",
    "![x](data:image/svg+xml,<svg onload=alert(1)>)",
    "</style><script>document.documentElement.dataset.ran=1</script>",
    "</pre></div></article><iframe srcdoc='<script>parent.document.documentElement.dataset.ran=1</script>'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=https://evil.example/>",
    "<object data=x><embed src=x><form action=x><input autofocus onfocus=alert(1)>",
    "```html\n<script>document.documentElement.dataset.ran=1</script>\n```",
    '```"><script>document.documentElement.dataset.ran=1</script>\nx\n```',
    '[x](https://e.example/"onmouseover=alert(1)//)',
    '[x](https://e.example "title\\" onmouseover=alert(1)")',
    "<!--><script>document.documentElement.dataset.ran=1</script>-->",
    "|a|\n|-|\n|<script>document.documentElement.dataset.ran=1</script>|",
    "\u2028<script>document.documentElement.dataset.ran=1</script>",
)
"""Texts that would run in a page that took them as they are."""
