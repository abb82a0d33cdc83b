package bench

import "testing"

func Benchmark(b *testing.B) {
	for _, c := range Cases() {
		b.Run(c.Group+"/"+c.Name, c.Run)
	}
}

// Each case must at least run, and do what its name says.
func TestCases(t *testing.T) {
	for _, c := range Cases() {
		t.Run(c.Group+"/"+c.Name, func(t *testing.T) {
			if r := testing.Benchmark(func(b *testing.B) {
				if b.N > 1 {
					return
				}
				c.Run(b)
			}); r.N == 0 {
				t.Fatal("the case has failed")
			}
		})
	}
}
