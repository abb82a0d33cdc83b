// Package pattern copies what a mux and a handler have put on a request to another one.
package pattern

import (
	"net/http"
	"strings"
)

// Copy copies the forms that were parsed, and the pattern with its path values, so
// that middleware further out finds the pattern, and the server the temporary
// files of a form.
func Copy(to, from *http.Request) {
	to.Form, to.PostForm, to.MultipartForm = from.Form, from.PostForm, from.MultipartForm
	if from.Pattern == to.Pattern {
		return
	}
	to.Pattern = from.Pattern
	for rest := from.Pattern; ; {
		_, after, ok := strings.Cut(rest, "{")
		if !ok {
			return
		}
		var name string
		name, rest, _ = strings.Cut(after, "}")
		name, _, _ = strings.Cut(name, ":") // a router's with regular expressions
		if name = strings.TrimSuffix(name, "..."); name != "$" {
			to.SetPathValue(name, from.PathValue(name))
		}
	}
}
