// Ask an agent, and print its reply as it comes. Needs Go's standard library only.
//
//	go run ask.go AGENT MESSAGE
package main

import (
	"encoding/json"
	"log"
	"net"
	"os"
	"os/exec"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("expected AGENT MESSAGE")
	}
	line := string(must(exec.Command("port42", "socket-path").Output()))
	connection := must(net.Dial("unix", line[:len(line)-1]))
	must(0, json.NewEncoder(connection).Encode(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "possess",
		"params": map[string]any{"agent": os.Args[1], "message": os.Args[2], "stream": true}}))
	// What comes is events of the turn and, at the end, the answer to request 1.
	var received struct {
		Params struct{ Kind, Text string }
		Result struct{ Status string }
		Error  *struct{ Message string }
	}
	for decoder := json.NewDecoder(connection); received.Result.Status == ""; {
		must(0, decoder.Decode(&received))
		switch {
		case received.Error != nil:
			log.Fatal(received.Error.Message)
		case received.Result.Status == "recorded":
			log.Fatal("No back end answers: the message was recorded.")
		case received.Result.Status == "" && received.Params.Kind == "text":
			os.Stdout.WriteString(received.Params.Text)
		}
	}
	os.Stdout.WriteString("\n")
}
