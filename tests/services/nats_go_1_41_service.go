// An ADR-32 service with the official Go client, for the tests: the arguments and output of `nats_py_service.py`. The client is
// that of Debian 13 (1.41.0); `nats_go_service.go` is the same with the one of Debian 12, whose services have another interface.
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
	url      = flag.String("url", "", "")
	name     = flag.String("name", "", "")
	version  = flag.String("version", "1.0.0", "")
	count    = flag.Int("count", 1, "instances, each on a connection of its own")
	tlsca    = flag.String("tlsca", "", "the authority of the server's certificate")
	metadata = map[string]string{}
)

func start() (string, error) {
	// All else as this client has it: also how long it waits before it connects again.
	options := []nats.Option{nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort()}
	if *tlsca != "" {
		options = append(options, nats.RootCAs(*tlsca))
	}
	connection, err := nats.Connect(*url, options...)
	if err != nil {
		return "", err
	}
	echo := func(request micro.Request) {
		_ = request.Respond(request.Data())
	}
	service, err := micro.AddService(connection, micro.Config{
		Name:     *name,
		Version:  *version,
		Metadata: metadata,
		Endpoint: &micro.EndpointConfig{Subject: *name + ".echo", Handler: micro.HandlerFunc(echo)},
	})
	if err != nil {
		return "", err
	}
	// A round trip: whatever was sent before it, the server has.
	return service.Info().ID, connection.Flush()
}

func main() {
	flag.Func("metadata", "K=V", func(pair string) error {
		key, value, _ := strings.Cut(pair, "=")
		metadata[key] = value
		return nil
	})
	flag.Parse()

	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	for n := 0; n < *count; n++ {
		id, err := start()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("ready", id)
	}
	<-terminate
}
