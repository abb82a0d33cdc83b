package pgstore_test

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/pgstore"
)

func Example() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "postgres://localhost/shop")
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	if err := pgstore.Migrate(ctx, pool); err != nil { // at every start, on every node
		log.Fatal(err)
	}
	store := pgstore.New(pool, pgstore.Options{})
	defer store.Close()
	tracker, err := revisit.New(revisit.Config{
		Keys:       [][]byte{[]byte("32 random bytes from your secrets")},
		Consent:    revisit.OptIn("consent", "yes"),
		Store:      store,
		FlushEvery: 10 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer tracker.Close() // before the store: it saves what has gathered
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", tracker.Handler(http.FileServer(http.Dir(".")))))
}
