package filestore_test

import (
	"os"
	"testing"
	"time"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/examples/filestore"
	"github.com/revisit-go/revisit/storetest"
)

func TestTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) revisit.Store {
		s, err := filestore.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	s, err := filestore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, life := range []time.Duration{-time.Second, time.Hour} {
		r := revisit.Record{Version: 1, Expires: time.Now().Add(life)}
		r.ID[15] = byte(i + 1)
		if err := s.Save(t.Context(), r, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sweep(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("%d files are left", len(left))
	}
}
