"""Conversations as ChatGPT and claude.ai export them."""

from __future__ import annotations


def node(key, parent, role=None, text="", **fields):
    content = fields.pop("content", {"content_type": "text", "parts": [text]})
    author = {"role": role, "name": fields.pop("name", None)}
    message = {"id": key, "author": author, "create_time": 1770000000.5, "content": content, **fields}
    return {"id": key, "parent": parent, "children": [], "message": message if role else None}


CHATGPT = {
    "title": "Bread",
    "conversation_id": "c-1",
    "create_time": 1770000000.25,
    "current_node": "a2",
    "mapping": {
        "root": node("root", None),
        "s": node("s", "root", "system", "", metadata={"is_visually_hidden_from_conversation": True}),
        "u1": node("u1", "s", "user", "How long does rye bread bake?"),
        "a1": node("a1", "u1", "assistant", "An hour."),
        "t1": node(
            "t1",
            "u1",
            "assistant",
            content={"content_type": "thoughts", "thoughts": [{"summary": "Oven", "content": "It is hot."}]},
        ),
        "c1": node(
            "c1",
            "t1",
            "assistant",
            content={"content_type": "code", "text": "print(50)"},
            recipient="python",
        ),
        "r1": node(
            "r1",
            "c1",
            "tool",
            content={"content_type": "execution_output", "text": "50"},
            name="python",
        ),
        "a2": node("a2", "r1", "assistant", "50 minutes.", metadata={"model_slug": "gpt-5"}),
    },
}
CLAUDE_AI = {
    "uuid": "k-1",
    "name": "Flour",
    "created_at": "2026-02-02T10:00:00.000000Z",
    "chat_messages": [
        {
            "uuid": "m1",
            "sender": "human",
            "created_at": "2026-02-02T10:00:01.000000Z",
            "text": "Which flour?",
            "content": [{"type": "text", "text": "Which flour?"}],
            "attachments": [{"file_name": "list.txt", "extracted_content": "rye, wheat"}],
        },
        {
            "uuid": "m2",
            "sender": "assistant",
            "created_at": "2026-02-02T10:00:02.000000Z",
            "content": [
                {"type": "thinking", "thinking": "Two kinds."},
                {"type": "tool_use", "name": "web_search", "input": {"query": "flour"}},
                {"type": "tool_result", "name": "web_search", "content": [{"type": "text", "text": "rye"}]},
                {"type": "text", "text": "Rye."},
            ],
        },
    ],
}
