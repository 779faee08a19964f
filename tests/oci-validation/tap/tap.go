// Package tap prints the Test Anything Protocol for the OCI validation programs.
//
// They are written against a TAP library that Debian does not package; this has what they call, and nothing more.
// The order of the output is the order of the calls, each line written at once: a program that is killed has said what it knew.
package tap

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// T is one stream of results. Copies made by Todo share its counter.
type T struct {
	Writer io.Writer
	count  *int
	todo   bool
}

// New starts a stream on standard output.
func New() *T {
	return &T{Writer: os.Stdout, count: new(int)}
}

// Header prints the version, and the plan if it is known (planned > 0).
func (t *T) Header(planned int) {
	fmt.Fprintln(t.Writer, "TAP version 13")
	if planned > 0 {
		fmt.Fprintf(t.Writer, "1..%d\n", planned)
	}
}

// AutoPlan prints the plan after the results: as many as there were.
func (t *T) AutoPlan() {
	fmt.Fprintf(t.Writer, "1..%d\n", *t.count)
}

// Ok prints one result.
func (t *T) Ok(passed bool, description string) {
	verdict := "ok"
	if !passed {
		verdict = "not ok"
	}
	if t.todo {
		description = "# TODO " + description
	} else {
		description = "- " + description
	}
	t.result(verdict, description)
}

// Pass is Ok(true, …).
func (t *T) Pass(description string) { t.Ok(true, description) }

// Fail is Ok(false, …).
func (t *T) Fail(description string) { t.Ok(false, description) }

// Skip prints n results that were not looked at.
func (t *T) Skip(n int, why string) {
	for ; n > 0; n-- {
		t.result("ok", "# SKIP "+why)
	}
}

// Todo gives a stream whose failures do not count.
func (t *T) Todo() *T {
	todo := *t
	todo.todo = true
	return &todo
}

// YAML prints the details of the result before it. JSON is YAML, too.
func (t *T) YAML(details interface{}) error {
	text, err := json.MarshalIndent(details, "  ", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(t.Writer, "  ---\n  %s\n  ...\n", text)
	return nil
}

// Diagnostic prints a comment, each of its lines as one.
func (t *T) Diagnostic(message string) {
	for _, line := range strings.Split(strings.TrimRight(message, "\n"), "\n") {
		fmt.Fprintln(t.Writer, "#", line)
	}
}

// Diagnosticf is Diagnostic with a format.
func (t *T) Diagnosticf(format string, arguments ...interface{}) {
	t.Diagnostic(fmt.Sprintf(format, arguments...))
}

func (t *T) result(verdict, description string) {
	*t.count++
	fmt.Fprintf(t.Writer, "%s %d %s\n", verdict, *t.count, strings.ReplaceAll(description, "\n", " "))
}
