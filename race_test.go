//go:build race

package revisit_test

const underRace = true
