package revisit

import (
	"net/http"
)

// A Strategy is a way for a client to carry a token: [Cookie], [ETag], or one
// of your own. It knows nothing of storage and none of the session rules. A
// Strategy is used by many requests at once: what belongs to one request lives
// in its [Visit].
type Strategy interface {
	// Via is the name of the strategy, unique in a Tracker: the purpose for which
	// its tokens are sealed, so that what was lifted from one carrier is worth
	// nothing in another, and what Session.Via and Stats call it.
	Via() string

	// Identify presents what the client carries, before the handler runs. It is
	// called under every Permission, so that a handler never sees our part of a
	// validator.
	Identify(v *Visit)

	// Attach is called once, when the final header of a response is about to
	// go, with the response's header and status. If the client is to keep a
	// carrier that it does not have, Attach writes it with a token from
	// Visit.Seal.
	Attach(v *Visit, h http.Header, status int)

	// Clear is called in place of Attach where the carriers are to go: under
	// Deny, after Tracker.Forget and when consent was withdrawn. Status is 0 if
	// it is not known yet.
	Clear(v *Visit, h http.Header, status int)
}
