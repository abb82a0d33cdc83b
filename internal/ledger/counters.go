package ledger

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/revisit-go/revisit/internal/throttle"
	"github.com/revisit-go/revisit/store"
)

// Counters is what a Ledger counts. The fields mean what those of revisit.Stats do; Timeout to
// Hook are reasons of Stats.Dropped.
type Counters struct {
	Created, Confirmed, Merged, LinksUsed, Forgotten, Leaked atomic.Int64
	StoreErrors, NotifyErrors                                atomic.Int64
	Timeout, Busy, Store, Full, Closed, Hook                 atomic.Int64

	logger                     *slog.Logger
	storeLog, leakLog, hookLog throttle.Minute
}

// Drop counts a change that err has cost. A session that was forgotten has no changes.
func (c *Counters) Drop(err error) {
	switch {
	case err == nil, errors.Is(err, ErrForgotten):
	case errors.Is(err, errBusy):
		c.Busy.Add(1)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		c.Timeout.Add(1)
	default:
		c.Store.Add(1)
	}
}

// storeFailed counts and logs an error of the store; conflicts and absence are answers.
func (c *Counters) storeFailed(err error) {
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return
	}
	c.StoreErrors.Add(1)
	if times, ok := c.storeLog.Now(); ok {
		c.logger.Error("revisit: the store fails; pages are served, visitors are recognised from their tokens alone",
			"error", err, "times", times)
	}
}

// LeakedTag counts and logs a tag that is worthless from now on.
func (c *Counters) LeakedTag() {
	c.Leaked.Add(1)
	if times, ok := c.leakLog.Now(); ok {
		c.logger.Warn("revisit: a tag came with many different cookies or anchors: a cache hands it out, or it was stolen; it is ignored", "times", times)
	}
}

// hookFailed logs a fault of one of the application's functions.
func (c *Counters) hookFailed(name string, err error) {
	if times, ok := c.hookLog.Now(); ok {
		c.logger.Error("revisit: "+name+" fails", "error", err, "times", times)
	}
}
