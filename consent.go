package revisit

import (
	"context"
	"fmt"
	"net/http"

	"github.com/revisit-go/revisit/internal/cachecontrol"
	"github.com/revisit-go/revisit/internal/cookies"
	"github.com/revisit-go/revisit/internal/header"
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
	// caching works. Carriers are left alone, since a consent may have expired and be
	// given again; with Config.ClearUnasked a same-origin or a typed navigation clears
	// those that it carries. For a consent that was withdrawn answer Deny.
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
// must say that a lost cookie is rebuilt; for less, write a function of your
// own that answers [Recognise].
//
// Nothing that happens before consent is kept, not even the campaign of the landing page:
// have the banner lead back to the whole address. OptIn never
// answers [Deny], because a missing cookie may just have expired: then the
// visitor is not recognised until consent is given again, and the session and its
// carriers stay until they end. Call Tracker.Forget where you take a no: it erases the
// session and clears the carriers.
//
// Forgetting ends consent, or the next page would start a new session. The answer of
// the beacon's forget, and that of a handler which has called Tracker.Forget for its own
// session, expire the cookie, unless the handler sets it itself: for this host and Path=/,
// and for the Domain of the Tracker's [Cookie]. A banner that sets it with
// another Path or Domain has to end it itself.
//
// A visitor who deletes all cookies deletes this one too, and is asked
// again before a tag counts. Do not give the consent cookie SameSite=Strict: it would be missing
// on a click from another site.
//
// OptIn returns nil for a name or a value that no cookie can have, and for no value. New
// reports that.
func OptIn(cookie, value string) func(*http.Request) Permission {
	if !cookies.IsName(cookie) || !cookies.IsValue(value) {
		return nil
	}
	return func(r *http.Request) Permission {
		if q, ok := r.Context().(*consentQuestion); ok {
			q.cookies = append(q.cookies, cookie)
		}
		permission := Unasked
		for found := cookies.Of(r, cookie); found.Next(); {
			if found.Value != value {
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
// question of law: see docs/privacy.md. A visitor who was forgotten has not opted out, so the next
// page begins a new session: set the cookie where they say no.
//
// OptOut returns nil for a name that no cookie can have. New reports that.
func OptOut(cookie string) func(*http.Request) Permission {
	if !cookies.IsName(cookie) {
		return nil
	}
	return func(r *http.Request) Permission {
		if header.Value(r.Header, "Sec-Gpc") == "1" || header.Value(r.Header, "Dnt") == "1" {
			return Deny
		}
		if found := cookies.Of(r, cookie); found.Next() {
			return Deny
		}
		return Recognise
	}
}

// A consentQuestion is the context of a request about which Config.Consent is asked once more, to
// learn which cookies the consent is in: OptIn adds its own, also where a function of the
// site's calls it.
type consentQuestion struct {
	context.Context
	cookies []string
}

// endConsent expires the cookies that the consent is in. A response that shared caches may keep is
// left alone, and so is a cookie that the handler sets itself.
func (v *Visit) endConsent(h http.Header) {
	q := &consentQuestion{Context: v.request.Context()}
	v.tracker.consent(v.request.WithContext(q))
	var domains []string
	for _, s := range leaves(v.tracker.strategy) {
		if c, ok := s.(Cookie); ok && c.Domain != "" {
			domains = append(domains, c.Domain)
		}
	}
	for _, name := range q.cookies {
		if found := cookies.Of(v.request, name); !found.Next() || cookies.Sets(h, name) || !cachecontrol.AllowPrivate(h) {
			continue
		}
		cookies.Expire(h, name, domains)
	}
}
