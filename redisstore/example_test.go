package redisstore_test

import (
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
	tracker, err := revisit.New(revisit.Config{
		Keys:       [][]byte{[]byte("32 random bytes from your secrets")},
		Consent:    revisit.OptIn("consent", "yes"),
		Store:      redisstore.New(client, redisstore.Options{}),
		FlushEvery: 10 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer tracker.Close() // before the client: it saves what has gathered
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", tracker.Handler(http.FileServer(http.Dir(".")))))
}
