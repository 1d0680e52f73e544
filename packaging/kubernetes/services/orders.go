// An ADR-32 service that names its pod in its metadata, logs in with a credentials file, and waits for a NATS that is away at the start. Needs
// github.com/nats-io/nats.go: tested with 1.41; 1.22 has no metadata yet.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

func main() {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	options := []nats.Option{
		nats.RetryOnFailedConnect(true), // else a NATS that is away at the start ends the program
		nats.MaxReconnects(-1),          // else the client gives up after two minutes
		nats.IgnoreAuthErrorAbort(),     // else it gives up when a server refuses two logins in a row
		nats.ReconnectWait(500 * time.Millisecond),
	}
	if credentials := os.Getenv("NATS_CREDS"); credentials != "" {
		options = append(options, nats.UserCredentials(credentials)) // read at each attempt
	}
	connection, err := nats.Connect(os.Getenv("NATS_URL"), options...)
	for errors.Is(err, os.ErrNotExist) && stop.Err() == nil { // the Secret may come later
		time.Sleep(500 * time.Millisecond)
		connection, err = nats.Connect(os.Getenv("NATS_URL"), options...)
	}
	if err != nil {
		log.Fatal(err)
	}
	service, err := micro.AddService(connection, micro.Config{
		Name:     "orders",
		Version:  "1.0.0",
		Metadata: map[string]string{"pod": os.Getenv("POD_NAME")},
	})
	if err != nil {
		log.Fatal(err)
	}
	// For probes with --id-file.
	if path := os.Getenv("ID_FILE"); path != "" {
		if err := os.WriteFile(path, []byte(service.Info().ID), 0o644); err != nil {
			log.Fatal(err)
		}
	}
	<-stop.Done()
	_ = service.Stop()
	_ = connection.Drain()
}
