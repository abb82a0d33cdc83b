package sqlitestore_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/sqlitestore"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "shop")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := sqlitestore.Open(filepath.Join(dir, "revisit.db"), sqlitestore.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	tracker, err := revisit.New(revisit.Config{
		Keys:    [][]byte{[]byte("32 random bytes from your secrets")},
		Consent: revisit.OptOut("optout"),
		Store:   store,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tracker.Close() // before the store

	h := tracker.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/?utm_campaign=spring", nil))
	for r, err := range store.Sessions(context.Background()) {
		fmt.Println(r.Hits, r.Touches[0].Campaign, err)
	}
	// Output: 1 spring <nil>
}
