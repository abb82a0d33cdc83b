package revisit

import (
	"net/url"
	"strings"

	"github.com/revisit-go/revisit/internal/header"
	"github.com/revisit-go/revisit/internal/origin"
	"github.com/revisit-go/revisit/internal/touch"
)

// touch returns what the page view says (internal/touch knows how) of how the visitor came here. What it leaves out is
// counted once a request.
func (v *Visit) touch() Touch {
	var left touch.Clipped
	t := v.readTouch(&left)
	if !v.clipped {
		v.clipped = true
		v.tracker.stats.clip(&left)
	}
	return t
}

func (v *Visit) readTouch(left *touch.Clipped) Touch {
	r := v.request
	site := touch.Site{Host: r.Host, IsProxied: v.isProxied}
	switch {
	case v.kind == kindPage:
		return v.tracker.links.Read(site, r.URL, header.Value(r.Header, "Referer"), v.now, left)
	case v.report == nil || v.report.Page == "":
		return Touch{Time: v.now}
	}
	return v.tracker.links.ReadReport(site, v.report.Page, v.report.Referrer, v.beforeConsent, v.now, left)
}

// isProxied reports whether u is a page of the site though a proxy hides the site's own host.
func (v *Visit) isProxied(u *url.URL) bool {
	if !origin.IsProxied(u, v.request) {
		return false
	}
	v.tracker.warnOfHost()
	return true
}

// warnOfHost says, now and then, that a proxy keeps the site's own host from it.
func (t *Tracker) warnOfHost() {
	if times, ok := t.stats.hosts.Now(); ok {
		t.logger.Warn("revisit: requests have another Host than browsers have asked for: have the proxy pass it on; until then pixel.gif counts no page views, and joins no page",
			"times", times)
	}
}

// isCampaign reports whether the page view's touch is a campaign. It is cheaper to know
// than the touch.
func (v *Visit) isCampaign() bool {
	if v.kind == kindPage && v.request.URL.RawQuery == "" {
		return false
	}
	t := v.touch()
	return touch.IsCampaign(&t)
}

// reloads reports whether the browser loads once more what it shows, or has shown: then
// the URL is no click. Chromium says in the request that what it has stored is not good
// enough, and Firefox that nobody has clicked or typed (nor opened it from a mail): Firefox
// sends Sec-Fetch-User otherwise. WebKit says neither. (Measured: docs/recognition.md.)
// For what no handler has seen, the script says it.
func (v *Visit) reloads() bool {
	if v.kind != kindPage {
		return v.report != nil && v.report.Again
	}
	h := v.request.Header
	switch header.Value(h, "Cache-Control") {
	case "max-age=0", "no-cache":
		return true
	}
	return header.Value(h, "Sec-Fetch-Dest") == "document" && header.Value(h, "Sec-Fetch-User") == "" && !v.class.ByWorker &&
		strings.Contains(header.Value(h, "User-Agent"), " Firefox/")
}

// isLed reports whether a page of another host has led here.
func (v *Visit) isLed() bool {
	site := header.Value(v.request.Header, "Sec-Fetch-Site")
	return v.kind == kindPage && (site == "cross-site" || site == "same-site")
}
