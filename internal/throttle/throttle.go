// Package throttle keeps messages that have many occasions from being logged at each.
package throttle

import (
	"sync/atomic"
	"time"
)

// Minute lets something happen once a minute. Its zero value is ready.
type Minute struct{ last, occasions atomic.Int64 }

// Now reports whether it is time, and how many occasions there were since the last time,
// this one included.
func (m *Minute) Now() (occasions int64, ok bool) {
	m.occasions.Add(1)
	now, last := time.Now().UnixNano(), m.last.Load()
	if last != 0 && now-last < int64(time.Minute) || !m.last.CompareAndSwap(last, now) {
		return 0, false
	}
	return m.occasions.Swap(0), true
}
