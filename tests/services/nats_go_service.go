// An ADR-32 service with the official Go client, for the tests: the arguments and output of `nats_py_service.py`. The client is
// the old one of Debian 12 (1.22.1), whose services know no metadata yet: it is taken, and not told to anybody.
//
// Prints `ready <id>` for each instance once the server has all of its subscriptions; reconnects for ever; ends on SIGTERM.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

var (
	url     = flag.String("url", "", "")
	names   = flag.String("name", "", "services, with commas between them")
	version = flag.String("version", "1.0.0", "")
	count   = flag.Int("count", 1, "instances of each, on a connection of its own")
	tlsca   = flag.String("tlsca", "", "the authority of the server's certificate")
)

func start(name string) (string, error) {
	// All else as this client has it: also how long it waits before it connects again.
	options := []nats.Option{nats.MaxReconnects(-1)}
	if *tlsca != "" {
		options = append(options, nats.RootCAs(*tlsca))
	}
	connection, err := nats.Connect(*url, options...)
	if err != nil {
		return "", err
	}
	echo := func(request *micro.Request) {
		_ = request.Respond(request.Data())
	}
	service, err := micro.AddService(connection, micro.Config{
		Name:     name,
		Version:  *version,
		Endpoint: micro.Endpoint{Subject: name + ".echo", Handler: echo},
	})
	if err != nil {
		return "", err
	}
	// A round trip: whatever was sent before it, the server has.
	return service.Info().ID, connection.Flush()
}

func main() {
	flag.Func("metadata", "ignored", func(string) error { return nil })
	flag.Parse()

	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	for _, name := range strings.Split(*names, ",") {
		for n := 0; n < *count; n++ {
			id, err := start(name)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println("ready", id)
		}
	}
	<-terminate
}
