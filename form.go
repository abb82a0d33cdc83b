package revisit

import (
	"context"
	"html/template"
	"net/http"
	"strings"
	"sync"

	"github.com/revisit-go/revisit/internal/form"
	"github.com/revisit-go/revisit/internal/header"
	"github.com/revisit-go/revisit/internal/origin"
	"github.com/revisit-go/revisit/internal/rules"
	"github.com/revisit-go/revisit/internal/token"
)

// Field returns a hidden input for a form that is posted to a wrapped handler of
// the same origin:
//
//	<input type="hidden" name="revisit" value="…">
//
// A POST carries no tag, so under [ETag] alone, and where cookies are
// blocked, nothing else says whose it is. The value is sealed, and worthless
// with another User-Agent or Accept-Language, or from another address (an IPv4
// address, the /64 of an IPv6 one: see Config.ClientAddr). It may be sent more than once.
// The request has to show that a page of this origin made it, by Sec-Fetch-Site, Origin or
// Referer, as browsers do. Put the field first: it is
// looked for in the first 4,096 bytes of the body. Session.Via of such a POST is "form".
//
// FromContext reads as much of the body as it takes to find the field, so set a read deadline
// where clients may be slow. If the handler never asks for the session, what it has read
// itself is looked at when it answers. The handler gets the whole body in any case.
//
// As with [NoScript], the response is made private, and a handler that computes an
// ETag of its own must include the value. Field returns nothing where there is no
// session, and where a cookie identifies the browser.
func Field(ctx context.Context) template.HTML {
	v := visitOf(ctx)
	if v == nil || !v.personalise(ctx) {
		return ""
	}
	return template.HTML(`<input type="hidden" name="` + form.Field + `" value="` + v.boundToken(viaForm, 0) + `">`)
}

// A pendingForm is the body of a POST that may have the field in it, where nothing else says
// whose the request is. That is resolved late: when the handler asks for the session, or
// when its answer is about to go. A handler that refuses a request does not wait for a
// client that is slow to send it.
type pendingForm struct {
	*form.Body

	resolving sync.Mutex
	resolved  bool
}

// awaitForm reports whether it depends on a form who the request is of.
func (v *Visit) awaitForm() bool {
	r := v.request
	if !v.isOwnPost() || r.Body == nil || r.Body == http.NoBody || v.permission == Unasked {
		return false
	}
	kind, _, _ := strings.Cut(header.Value(r.Header, "Content-Type"), ";")
	kind = strings.ToLower(header.TrimSpace(kind))
	if kind != form.URLEncoded && kind != form.Multipart {
		return false
	}
	var room [2]rules.Claim
	if v.kind != kindForget && len(v.claims(room[:0])) > 0 { // a form speaks where nothing else does
		return false
	}
	v.form = &pendingForm{Body: form.New(r.Body, kind, header.Value(r.Header, "Expect") != "")}
	v.bind()
	v.Hook()
	return true
}

// isOwnPost reports whether a page of this origin has sent the request, as a POST.
func (v *Visit) isOwnPost() bool {
	return v.request.Method == http.MethodPost && !v.class.Foreign && origin.IsSame(v.request)
}

// resolveForm resolves a request that awaits a form. If read, it reads the beginning of the body,
// else it makes do with what the handler has read.
func (v *Visit) resolveForm(read bool) {
	f := v.form
	if f == nil {
		return
	}
	f.resolving.Lock()
	defer f.resolving.Unlock()
	if f.resolved {
		return
	}
	if read && v.formText() == "" {
		f.Peek()
	}
	f.resolved = true
	v.tracker.resolve(v)
}

// formToken returns the token of Field's input, if that is there.
func (v *Visit) formToken() (token.Bound, bool) {
	if !v.isOwnPost() {
		return token.Bound{}, false
	}
	text := v.formText()
	if text == "" {
		return token.Bound{}, false
	}
	return v.openBound(viaForm, text)
}

// formText returns the value of Field's input, as far as that is known.
func (v *Visit) formText() string {
	if r := v.request; r.PostForm != nil { // somebody further out has parsed it
		if text := r.PostForm.Get(form.Field); text != "" {
			return text
		}
	}
	if v.form == nil {
		return ""
	}
	text, _ := v.form.Text()
	return text
}
