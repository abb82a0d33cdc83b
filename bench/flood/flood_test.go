package flood_test

import (
	"os"
	"testing"

	"github.com/revisit-go/revisit/bench/flood"
)

// A flood pushes out itself: those who come back are found, and so are newcomers
// who come a second time. In small, or at full size in make test-full.
func TestAFlood(t *testing.T) {
	crowd := flood.Full.Scaled(64)
	if os.Getenv("REVISIT_FULL") != "" {
		crowd = flood.Full
	}
	t.Logf("%+v", crowd)
	for _, requests := range []int{1, 2, 4} {
		crowd.Requests = requests
		memory, lru := crowd.Memory(), crowd.LRU()
		t.Logf("%d requests each: returning visitors found %.1f %% (LRU %.1f %%), newcomers %.1f %% (LRU %.1f %%)",
			requests, memory.Returning, lru.Returning, memory.Newcomers, lru.Newcomers)
		if memory.Returning < 94 || memory.Newcomers < 99 {
			t.Errorf("%d requests each: %+v", requests, memory)
		}
	}
}
