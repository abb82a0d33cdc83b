// The API of the last release, which scripts/release writes and scripts/apidiff reads. It
// is a module of its own so that the zip of the root module, which everybody downloads who
// imports it, is without it.
module github.com/revisit-go/revisit/api

go 1.26.0
