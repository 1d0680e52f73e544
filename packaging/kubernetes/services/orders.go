// An ADR-32 service whose instance says which pod it is in. Needs github.com/nats-io/nats.go, of which 1.41 is tested, and 1.22 knows no
// metadata yet.
package main

import (
	"context"
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
	connection, err := nats.Connect(os.Getenv("NATS_URL"), nats.MaxReconnects(-1), nats.ReconnectWait(500*time.Millisecond))
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
	// For probes that ask by id:
	if path := os.Getenv("ID_FILE"); path != "" {
		if err := os.WriteFile(path, []byte(service.Info().ID), 0o644); err != nil {
			log.Fatal(err)
		}
	}
	<-stop.Done()
	_ = service.Stop()
	_ = connection.Drain()
}
