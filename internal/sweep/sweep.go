// Package sweep has stores delete what has expired, now and then.
package sweep

import (
	"context"
	"sync"
	"time"
)

// Every calls f every so often, until stop is called, which waits for it to end. An
// interval of 0 is a minute, one below 0 is never.
func Every(interval time.Duration, f func(context.Context)) (stop func()) {
	if interval == 0 {
		interval = time.Minute
	}
	if interval < 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			f(ctx)
		}
	}()
	return sync.OnceFunc(func() {
		cancel()
		<-done
	})
}
