// The peer in Go: net/http, a mutex around a map of bounded channels, a goroutine per connection. Same
// endpoints, same answers, same lines as aloud. A listener whose channel is full is dropped.
package main

import (
	"flag"
	"log"
	"net/http"
	"sync"
)

// Messages that may wait for one listener, as in the other servers.
const queue = 256

type hub struct {
	mutex     sync.Mutex
	listeners map[chan []byte]struct{}
}

func (h *hub) join() chan []byte {
	letters := make(chan []byte, queue)
	h.mutex.Lock()
	h.listeners[letters] = struct{}{}
	h.mutex.Unlock()
	return letters
}

func (h *hub) leave(letters chan []byte) {
	h.mutex.Lock()
	delete(h.listeners, letters)
	h.mutex.Unlock()
}

// Puts the line in every channel; closes those that are full, which ends their streams.
func (h *hub) publish(line []byte) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for letters := range h.listeners {
		select {
		case letters <- line:
		default:
			delete(h.listeners, letters)
			close(letters)
		}
	}
}

func (h *hub) listen(w http.ResponseWriter, r *http.Request) {
	flusher := w.(http.Flusher)
	letters := h.join()
	defer h.leave(letters)
	w.Header().Set("Content-Type", "text/event-stream")
	flusher.Flush()
	for {
		select {
		case line, open := <-letters:
			if !open {
				return
			}
			if _, err := w.Write(line); err != nil {
				return
			}
			flusher.Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func (h *hub) say(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.publish([]byte(r.Form.Get("name") + " " + r.Form.Get("message") + "\r\n"))
	w.Write([]byte("ok."))
}

func main() {
	bind := flag.String("bind", "127.0.0.1:4000", "address and port")
	flag.Parse()
	h := &hub{listeners: map[chan []byte]struct{}{}}
	http.HandleFunc("/listen", h.listen)
	http.HandleFunc("/say", h.say)
	log.Fatal(http.ListenAndServe(*bind, nil))
}
