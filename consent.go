package revisit

import (
	"fmt"
	"net/http"
)

// A Permission says what may be done with the visitor behind a request. It is
// what Config.Consent answers.
//
// A cookie and an ETag need the same permission: Article 5(3) of the ePrivacy
// directive speaks of any storage in, and any access to, the visitor's
// terminal equipment, and the EDPB's Guidelines 2/2023 (version 2.0, paragraph
// 43) name the ETag. An ETag is not a way around a missing consent.
type Permission int8

const (
	// Unasked is for a visitor who has not decided yet. No claim is used,
	// nothing is kept and no token is sent. Tags are still translated, so that
	// caching works. Carriers are left alone, except that a same-origin or a
	// typed navigation clears those that it carries: the consent was there once
	// and has been withdrawn.
	Unasked Permission = iota
	// Deny is an explicit no. The session of a valid token is forgotten and the
	// carriers are cleared.
	Deny
	// Recognise lets the strategies work, but what the visitor cleared is not
	// rebuilt: a missing cookie is not made again from a tag, where they disagree
	// the cookie wins, and sessions that were born more than ten seconds apart are
	// not merged.
	Recognise
	// Restore is Recognise, and a Hybrid may also rebuild a carrier that was
	// lost. Deleting the cookies is how many people say no, so ask for this one
	// in so many words.
	Restore
)

// String returns the name of the constant.
func (p Permission) String() string {
	switch p {
	case Unasked:
		return "Unasked"
	case Deny:
		return "Deny"
	case Recognise:
		return "Recognise"
	case Restore:
		return "Restore"
	}
	return fmt.Sprintf("Permission(%d)", int8(p))
}

// OptIn answers [Restore] if the request has a cookie of that name with that
// value (and no second one with another value), else [Unasked]. So your banner
// must say that a lost cookie is made again; for less, write a function of your
// own that answers [Recognise].
//
// Nothing that happens before consent is kept, the campaign of the landing page
// included: have the banner lead back to the whole address. And OptIn never
// answers [Deny]: who takes the consent back is recognised no more, and the
// carriers are cleared, but the session stays in the store until it ends. Call
// Tracker.Forget where you take a no.
//
// Whoever deletes all cookies deletes this one too, so the visitor is asked
// again before a tag counts; and on a page that was opened in between, the tag
// is gone. Do not give the consent cookie SameSite=Strict: it would be missing
// on a click from another site.
func OptIn(cookie, value string) func(*http.Request) Permission {
	return func(r *http.Request) Permission {
		permission := Unasked
		for found := cookiesOf(r, cookie); found.next(); {
			if found.value != value {
				return Unasked
			}
			permission = Restore
		}
		return permission
	}
}

// OptOut answers [Deny] if the request has a cookie of that name (whatever its
// value), Sec-GPC: 1 (Global Privacy Control) or DNT: 1, else [Recognise].
//
// It is for sites that need no consent beforehand. Whether yours is one is a
// question of law: see docs/privacy.md.
func OptOut(cookie string) func(*http.Request) Permission {
	return func(r *http.Request) Permission {
		if headerValue(r.Header, "Sec-Gpc") == "1" || headerValue(r.Header, "Dnt") == "1" {
			return Deny
		}
		if found := cookiesOf(r, cookie); found.next() {
			return Deny
		}
		return Recognise
	}
}

// headerValue is Header.Get for a name that is canonical already.
func headerValue(h http.Header, name string) string {
	if lines := h[name]; len(lines) > 0 {
		return lines[0]
	}
	return ""
}
