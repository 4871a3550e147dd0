"""A program that answers as `claude -p --output-format stream-json` does and writes the transcript, too.

``claude_cli.py PROJECTS [--resume ID]``: the prompt comes on stdin. The reply is a text, a tool call, a text.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from peers.claude_code import Transcript


def main() -> None:
    prompt = sys.stdin.read()
    transcript = Transcript(Path(sys.argv[1]), str(Path.cwd()))
    if "--resume" in sys.argv:
        transcript.resume(sys.argv[sys.argv.index("--resume") + 1])
    print(json.dumps({"type": "system", "subtype": "init", "session_id": transcript.id, "model": "claude-x"}))
    transcript.user(prompt)
    call = {"type": "tool_use", "id": f"toolu_{transcript.lines}", "name": "Bash", "input": {"command": "ls"}}
    for block in ({"type": "text", "text": "I look."}, call):
        tell({"type": "assistant", "message": {"role": "assistant", "content": [block]}}, transcript)
        transcript.assistant(block)
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "a.py"}
    tell({"type": "user", "message": {"role": "user", "content": [result]}}, transcript)
    transcript.add("user", [result])
    last = {"type": "text", "text": f"Done with {prompt.splitlines()[-1]}"}
    tell({"type": "assistant", "message": {"role": "assistant", "content": [last]}}, transcript)
    transcript.assistant(last)
    end = {"type": "result", "subtype": "success", "is_error": False, "result": last["text"]}
    tell(end | {"usage": {"input_tokens": 3, "output_tokens": 4}}, transcript)


def tell(event: dict, transcript: Transcript) -> None:
    print(json.dumps(event | {"session_id": transcript.id}), flush=True)


if __name__ == "__main__":
    main()
