// Probe is what the tests of the cluster itself run in pods.
//
//	probe serve ADDRESS TEXT   answer every request with the text
//	probe get URL              print what is answered, at the latest after ten seconds: Services lag behind their pods
//	probe cat FILE             print a file
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func main() {
	if len(os.Args) < 3 {
		fail("probe serve ADDRESS TEXT | get URL | cat FILE")
	}
	switch os.Args[1] {
	case "serve":
		answer := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Args[3]) }
		fail(http.ListenAndServe(os.Args[2], http.HandlerFunc(answer)))
	case "get":
		response, err := get(os.Args[2])
		if err != nil {
			fail(err)
		}
		defer response.Body.Close()
		io.Copy(os.Stdout, response.Body)
	case "cat":
		text, err := os.ReadFile(os.Args[2])
		if err != nil {
			fail(err)
		}
		os.Stdout.Write(text)
	}
}

func get(url string) (*http.Response, error) {
	client := http.Client{Timeout: 5 * time.Second}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		response, err := client.Get(url)
		if err == nil || time.Now().After(end) {
			return response, err
		}
	}
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
