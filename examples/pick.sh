#!/usr/bin/env bash
# Choose a session with fzf, what was said beside it, and continue it. Needs fzf and jq.
#     pick.sh [WORD…]       what is typed first
set -euo pipefail

chosen=$(
    port42 sessions --limit 1000 --json |
        jq --raw-output '.sessions[] | [.session_id, "@" + .agent, .title // "(untitled)"] | join("\t")' |
        fzf --delimiter='\t' --with-nth=2.. --query="$*" --preview='port42 show {1}' --preview-window=wrap
)
IFS=$'\t' read -r session_id agent _ <<<"$chosen"
exec port42 possess "$agent" --session "$session_id"
