// Package migrate shows how the visitors whom another library knows are kept: each
// function makes a revisit.Config.Adopt. See docs/migrate.md.
package migrate

import (
	"errors"
	"io/fs"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"

	"github.com/revisit-go/revisit"
)

// FromSCS adopts those who have a session of alexedwards/scs.
func FromSCS(manager *scs.SessionManager) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		cookie, err := r.Cookie(manager.Cookie.Name)
		if err != nil {
			return "", nil
		}
		finder := *manager
		finder.Codec = unread{}
		ctx, err := finder.Load(r.Context(), cookie.Value)
		if err != nil {
			return "", err // its store is away: ask again
		}
		return finder.Token(ctx), nil // "" for a token that the store does not have
	}
}

// unread is a codec for who only asks whether a session is there: its values may be of types
// that this program does not know.
type unread struct{}

func (unread) Encode(time.Time, map[string]any) ([]byte, error) { return nil, errors.ErrUnsupported }
func (unread) Decode([]byte) (time.Time, map[string]any, error) { return time.Time{}, nil, nil }

// FromGorilla adopts those who have a session of gorilla/sessions under this name, by
// the value that the application has given each of them under key, at random. The cookie
// itself is another one after each Save.
func FromGorilla(store sessions.Store, name, key string) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		session, err := store.Get(r, name) // which checks the signature
		if bad := securecookie.Error(nil); errors.As(err, &bad) && bad.IsDecode() {
			return "", nil // forged, or of another key
		}
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil // a FilesystemStore has lost it
		}
		if err != nil || session.IsNew {
			return "", err // what keeps its sessions is away: ask again; or nil, for none
		}
		visitor, _ := session.Values[key].(string)
		return visitor, nil
	}
}

// FromUUID adopts those who have a cookie of this name with a random UUID in it, which
// nobody has signed: who knows it is taken for its owner, as before.
func FromUUID(name string) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		cookie, err := r.Cookie(name)
		if err != nil {
			return "", nil
		}
		id, err := revisit.ParseID(cookie.Value)
		if err != nil || id.IsZero() {
			return "", nil // no UUID, or everybody's
		}
		return id.String(), nil // in one spelling
	}
}
