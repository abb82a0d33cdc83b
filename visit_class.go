package revisit

import (
	"net/http"
	"strings"
	"time"

	"github.com/revisit-go/revisit/internal/beacon"
	"github.com/revisit-go/revisit/internal/fetchmeta"
	"github.com/revisit-go/revisit/internal/header"
	"github.com/revisit-go/revisit/internal/origin"
	"github.com/revisit-go/revisit/internal/token"
)

// A requestClass is what a request is for. (Fields of one byte stand together in a Visit: its
// size is what most of the time goes into.)
type requestClass struct {
	class         fetchmeta.Class
	beforeConsent bool // the page view was before consent
	linkable      bool // of a kind whose response can have a link token
	bot           bool // Config.Bot says so
	clipped       bool // what was left out of the link has been counted
}

// classify decides what the request is for.
func (v *Visit) classify() {
	v.class = fetchmeta.Classify(v.request)
	switch v.kind {
	case kindPage:
		v.linkable = v.class.MayStart && v.request.Method == http.MethodGet && v.tracker.beaconOn.Load()
		if v.class.Hit && v.class.ByWorker && v.permission >= Recognise {
			v.Hook() // for sendSeen
		}
	case kindAnchor:
		v.classifyAnchor()
	case kindForget:
		v.permission = Deny // in so many words
	}
}

// A beaconReport is what revisit.js says in its request for the anchor.
type beaconReport struct {
	beacon.Report
	links []token.Bound
}

const (
	// maxLinks is how many link tokens of one request for the anchor are looked at.
	maxLinks = 16
	// maxLinkText is how long the list of them may be.
	maxLinkText = maxLinks * (token.BoundLen + len(", "))
)

// classifyAnchor decides what a request for the anchor is good for. It must be
// one of a page of this origin, for an image or by fetch. Otherwise any site
// could send its visitors here and join them to a session of its own.
func (v *Visit) classifyAnchor() {
	r := v.request
	h := r.Header
	site, mode, dest := header.Value(h, "Sec-Fetch-Site"), header.Value(h, "Sec-Fetch-Mode"), header.Value(h, "Sec-Fetch-Dest")
	goes := v.class.Navigation || mode == "navigate"
	v.class.Navigation, v.class.Hit, v.class.MayStart, v.linkable = false, false, false, false
	if goes || !origin.IsSame(r) || site != "" && dest != "image" && dest != "empty" {
		v.class.Foreign = true
		return
	}
	v.class.MayStart = r.Method == http.MethodGet && !fetchmeta.IsPrefetch(h)
	v.report = &beaconReport{}
	// A picture that a service worker hands on is for nothing any more, but script that
	// can send these fields asks with CORS.
	if dest != "image" && mode != "no-cors" {
		v.readLinks(header.Value(h, beacon.FieldLink))
		v.linkable = v.class.MayStart && header.Value(h, beacon.FieldAnchor) != ""
		said, isReport := beacon.ReadReport(h, v.now)
		v.report.Report, v.beforeConsent = said, said.BeforeConsent
		v.class.Hit = v.class.MayStart && said.IsView()
		if dest != "" || isReport || v.linkable || header.Value(h, beacon.FieldLink) != "" {
			return
		}
	}
	// An image: of the frame of a page, or of a page that is not wrapped.
	// Without a Referer it can be either, and is no view.
	u, ok := origin.Referrer(r)
	if !ok {
		if site == "same-origin" && header.Value(h, "Referer") != "" {
			v.tracker.warnOfHost()
		}
		return
	}
	if text, ok := strings.CutPrefix(u.Path, v.tracker.beaconPath+"link/"); ok {
		// The page has no time in it.
		if t, ok := v.openBound(viaLink, text); ok && t.Issued == 0 {
			v.report.links = append(v.report.links, t)
		}
		return
	}
	v.report.Page, v.class.Hit = u.RequestURI(), v.class.MayStart
}

// readLinks takes link tokens from the script's list of them. Each member costs a MAC
// at the most, so it is the members that are counted, whatever they are worth.
func (v *Visit) readLinks(list string) {
	if len(list) > maxLinkText {
		v.tracker.stats.forged.Add(1)
		return
	}
	for n := 0; list != "" && n < maxLinks; n++ {
		var text string
		text, list, _ = strings.Cut(list, ",")
		t, ok := v.openBound(viaLink, header.TrimSpace(text))
		age := v.now.Unix() - int64(t.Issued)
		if ok && -60 <= age && age <= int64(token.LinkLife/time.Second) {
			v.report.links = append(v.report.links, t)
		}
	}
}

// takesBack reports whether the request does no more than to say that a page view, which
// was counted, was no click.
func (v *Visit) takesBack() bool { return v.report != nil && v.report.Counted && v.report.Again }

// isPlain reports whether the request may do no more than count a page view, or nothing.
func (v *Visit) isPlain() bool {
	return !v.beforeConsent && (v.report == nil || !v.report.Stale && !v.takesBack())
}
