package revisit

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/revisit-go/revisit/internal/clientip"
	"github.com/revisit-go/revisit/internal/header"
	"github.com/revisit-go/revisit/ja4"
)

// Fingerprint is the strategy for clients that keep nothing. It takes two requests
// for one browser's if they have the same site, address, User-Agent and
// Accept-Language within a day. That is a guess. Two telephones of one kind on one
// home network are one visitor to it, most of an office is, and a visitor who changes the
// network is a new one each time: docs/recognition.md has the
// figures. A private window looks like the ordinary one. Never let it decide what a
// visitor is shown.
//
// Alone it is for counting. At the end of a Hybrid it applies only where no token
// came: a page view then starts a session of its own, which can have a token, and the
// session with the same fingerprint is noted as Record.ProbableMatch, under [Restore]. Other
// requests are shown that session (Session.Via is "fingerprint"), but nothing counts
// on it, Set and Tracker.Forget return [ErrGuess], and it goes into no carrier. Once
// two browsers with one fingerprint have both come back with tokens of their own, it matches
// neither, as long as the salts last.
//
// A fingerprint goes through HMAC-SHA-256, with a random salt that is
// made for each Window and kept in the Store under an ID of its own. The salt is kept
// for one more Window, and then destroyed together with all that was stored under
// it, but for the hints that were noted. A visitor who comes back within that time keeps the
// session. Neither address nor User-Agent is stored or logged.
//
// It costs two more Loads for a request without a token, also under [Config.FlushEvery], and
// one more, in the background, for the first page view of a visit with one. Alone, first
// requests that come at once may each see an ID of their own, of which one is kept.
//
// It needs the same permission as a cookie. It ignores requests with
// Sec-GPC: 1, bots and prefetches, requests without a User-Agent, and those whose client
// address is not known: see [Config.ClientAddr].
type Fingerprint struct {
	// Window is how long a salt is used. It begins at multiples of it in UTC: at
	// midnight, for a day. Default 24 hours; from an hour to 31 days.
	// With more than a day the digits of the User-Agent are left out, because
	// browsers change their version every two weeks or so (measured, autumn 2026).
	Window time.Duration

	// Subnet takes the network in place of the address: /24 in place of /32 for
	// IPv4, /48 in place of /64 for IPv6. Fewer visitors are taken apart and
	// more are taken for one.
	Subnet bool

	// TLS adds what ja4.Hello calls Stable. It takes browsers of different kinds
	// and versions apart that say they are the same; ja4.Watch must watch the
	// server. Requests by HTTP/3 look different from others of the same browser.
	TLS bool

	// ClientID, if not nil, returns what the page's own script has found out about
	// its browser, as in a header field or a query parameter. It is one more signal
	// and is believed no more than the others. A request without one, or with one of
	// more than 128 bytes, is not recognised then: a page cannot send one, so what it
	// says would differ from what its script says. So alone a session begins with the
	// first fetch that has one, of whatever method, and page views are not counted.
	ClientID func(*http.Request) string

	// Site is a name for all hosts that a visitor is one visitor of. Default: the
	// Host of the request.
	Site string
}

const (
	defaultWindow = 24 * time.Hour
	minWindow     = time.Hour
	maxWindow     = 31 * 24 * time.Hour

	maxClientID = 128

	// maxSignal is how much of a header field is looked at.
	maxSignal = 1 << 10
)

// Via implements [Strategy]. It is "fingerprint".
func (Fingerprint) Via() string { return "fingerprint" }

// Identify implements [Strategy].
func (f Fingerprint) Identify(v *Visit) {
	h := v.request.Header
	agent := header.Value(h, "User-Agent")
	if agent == "" || header.Value(h, "Sec-Gpc") == "1" || !v.MayMatch() {
		return
	}
	address := clientip.Network(v.ClientAddr(), f.Subnet)
	if address == "" {
		return
	}
	site := f.Site
	if site == "" {
		site = strings.ToLower(v.request.Host)
	}
	if f.Window > defaultWindow {
		agent = withoutDigits(agent)
	}
	hello, id := "", ""
	if f.TLS {
		if seen, ok := ja4.FromContext(v.request.Context()); ok {
			hello = seen.Stable
		}
	}
	if f.ClientID != nil {
		if id = f.ClientID(v.request); id == "" || len(id) > maxClientID {
			return
		}
	}
	v.Match("fingerprint", f.window(), clipSignal(site), address, clipSignal(agent), clipSignal(header.Value(h, "Accept-Language")), hello, id)
	if f.ClientID != nil && v.fingerprint != nil {
		v.fingerprint.ByScript = true
	}
}

// Attach implements [Strategy]. There is nothing that a client could keep.
func (Fingerprint) Attach(*Visit, http.Header, int) {}

// Clear implements [Strategy].
func (Fingerprint) Clear(*Visit, http.Header, int) {}

func (f Fingerprint) window() time.Duration { return cmp.Or(f.Window, defaultWindow) }

// check is called by New.
func (f Fingerprint) check() error {
	var errs []error
	if w := f.window(); w < minWindow || w > maxWindow {
		errs = append(errs, fmt.Errorf("revisit: Fingerprint: Window is %v, want %v to %v", f.Window, minWindow, maxWindow))
	}
	return errors.Join(errs...)
}

func clipSignal(s string) string { return s[:min(len(s), maxSignal)] }

func withoutDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' || r == '.' || r == '_' {
			return -1
		}
		return r
	}, s)
}
