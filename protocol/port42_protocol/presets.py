"""Back ends that Port42 has settings for: their names, as `connect_agent` takes them, and what each is."""

from __future__ import annotations

ECHO = "echo"
"""The agent that answers before anything is connected, and its back end."""

PRESETS = {
    "claude": "Claude Code, with its own login",
    "codex": "Codex, with its own login",
    "gemini": "Gemini CLI, with its own login",
    "llm": "llm, the program, with its own keys",
    "claude-acp": "Claude Code through claude-agent-acp",
    "codex-acp": "Codex through codex-acp",
    "gemini-acp": "Gemini CLI as an ACP agent",
    "opencode": "opencode, with its own login",
    "copilot": "GitHub Copilot CLI, with its own login",
    "anthropic": "Anthropic's API, with ANTHROPIC_API_KEY",
    "openai": "OpenAI's API, with OPENAI_API_KEY",
    "ollama": "ollama, a model on this machine: --model NAME",
    ECHO: "repeats the message; no model",
    "none": "nothing: messages are only recorded",
}
