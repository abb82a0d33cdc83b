// Package millis has the precision of all times in records: milliseconds, in UTC.
package millis

import "time"

// Truncate returns t in UTC, to the millisecond.
func Truncate(t time.Time) time.Time { return Time(t.UnixMilli()) }

// Time returns the time of Unix milliseconds, in UTC.
func Time(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// Ceil returns d in milliseconds, rounded up.
func Ceil(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }
