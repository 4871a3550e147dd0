# The last session of the current folder in the prompt of bash or zsh: [@ai-engineer cli-17573504 · 12]
# Needs socat and jq; starts no daemon, and waits 0.3 s at most.
#     . prompt.sh
#     PS1='\w $(port42_segment)\$ '                           # bash
#     setopt PROMPT_SUBST; PROMPT='%~ $(port42_segment)%# '   # zsh

port42_socket=$(port42 socket-path)

port42_segment() {
    # Without the title, which may hold anything: a prompt obeys what is in it.
    jq --null-input --compact-output --arg cwd "$PWD" \
        '{jsonrpc: "2.0", id: 1, method: "list_sessions", params: {$cwd, limit: 1}}' |
        socat -t 0.3 - UNIX-CONNECT:"$port42_socket" 2>/dev/null |
        jq --raw-output '.result.sessions[]? | "[@\(.agent) \(.short_id) · \(.message_count)] "'
}
