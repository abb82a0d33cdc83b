package redisstore_test

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/redis/rueidis"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/redisstore"
)

func Example() {
	// NewClient fails if Redis is not there yet: try again, or end and be started
	// again.
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{"127.0.0.1:6379"}, DisableCache: true})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	store := redisstore.New(client, redisstore.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := store.Check(ctx); err != nil {
		log.Print(err) // it works, but may lose sessions
	}
	tracker, err := revisit.New(revisit.Config{
		Keys:       [][]byte{[]byte("32 random bytes from your secrets")},
		Consent:    revisit.OptIn("consent", "yes"),
		Store:      store,
		FlushEvery: 10 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer tracker.Close() // before the client: it saves what has gathered
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", tracker.Handler(http.FileServer(http.Dir(".")))))
}
