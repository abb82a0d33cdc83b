// The pictures of the documentation. They are a module of their own so that the zip of
// the root module, which everybody downloads who imports it, is without them.
module github.com/revisit-go/revisit/docs/images

go 1.26.0
