// What the root's tests read. It is a module of its own so that the zip of the root
// module, which everybody downloads who imports it, is without it.
module github.com/revisit-go/revisit/testdata

go 1.26.0
