#!/usr/bin/env bash
# Ask an agent, and print its reply as it comes. Needs socat and jq.
#     ask.sh AGENT MESSAGE
set -euo pipefail

agent=${1:?AGENT: expected one, for example ai-engineer}
message=${2:?MESSAGE: expected one}

# Each line that comes is an event of the turn, or, at the end, the answer to request 1.
# -t: how long socat waits for that, once it has sent the request.
jq --null-input --compact-output --arg agent "$agent" --arg message "$message" \
    '{jsonrpc: "2.0", id: 1, method: "possess", params: {$agent, $message, stream: true}}' |
    socat -t 3600 - UNIX-CONNECT:"$(port42 socket-path)" |
    jq --join-output --unbuffered '
        if .method == "session_event" then .params | select(.kind == "text").text
        elif .error then "\(.error.message)\n" | halt_error(1)
        elif .result.status == "recorded" then "No back end answers: the message was recorded.\n" | halt_error(1)
        else "\n"
        end'
