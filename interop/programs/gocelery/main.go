// gocelery as a worker and as a producer (one request a line on stdin, one answer a line on stdout, both JSON).
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gocelery/gocelery"
	"github.com/gomodule/redigo/redis"
)

type subtract struct{ x, y float64 }

func (s *subtract) ParseKwargs(kwargs map[string]interface{}) error {
	x, good := kwargs["x"].(float64)
	y, fine := kwargs["y"].(float64)
	if !good || !fine {
		return fmt.Errorf("x and y are no numbers: %v", kwargs)
	}
	s.x, s.y = x, y
	return nil
}

func (s *subtract) RunTask() (interface{}, error) { return s.x - s.y, nil }

// A function may take and return numbers, texts and booleans only; any other value goes by keyword.
type echo struct{ value interface{} }

func (e *echo) ParseKwargs(kwargs map[string]interface{}) error {
	e.value = kwargs["value"]
	return nil
}

func (e *echo) RunTask() (interface{}, error) { return e.value, nil }

func queue() string {
	if name := os.Getenv("QUEUE"); name != "" {
		return name
	}
	return "celery"
}

// A producer must not be a consumer as well: the library's own constructor makes it one, and so it takes its own tasks.
func amqpProducer(url string) gocelery.CeleryBroker {
	connection, channel := gocelery.NewAMQPConnection(url)
	return &gocelery.AMQPCeleryBroker{
		Channel:    channel,
		Connection: connection,
		Exchange:   gocelery.NewAMQPExchange("default"),
		Queue:      gocelery.NewAMQPQueue(queue()),
		Rate:       4,
	}
}

func amqpWorker(url string) gocelery.CeleryBroker {
	broker := amqpProducer(url).(*gocelery.AMQPCeleryBroker)
	for _, step := range []func() error{broker.CreateExchange, broker.CreateQueue, broker.StartConsumingChannel} {
		if err := step(); err != nil {
			panic(err)
		}
	}
	return broker
}

func broker(worker bool) gocelery.CeleryBroker {
	url := os.Getenv("BROKER")
	switch {
	case strings.HasPrefix(url, "redis"):
		made := gocelery.NewRedisBroker(pool(url))
		made.QueueName = queue()
		return made
	case worker:
		return amqpWorker(url)
	default:
		return amqpProducer(url)
	}
}

func pool(url string) *redis.Pool {
	return &redis.Pool{MaxIdle: 3, Dial: func() (redis.Conn, error) { return redis.DialURL(url) }}
}

func backend() gocelery.CeleryBackend {
	url := os.Getenv("BACKEND")
	if strings.HasPrefix(url, "redis") {
		return gocelery.NewRedisBackend(pool(url))
	}
	return gocelery.NewAMQPCeleryBackend(url)
}

func work() {
	client, err := gocelery.NewCeleryClient(broker(true), backend(), 2)
	if err != nil {
		panic(err)
	}
	client.Register("interop.add", func(x, y float64) float64 { return x + y })
	client.Register("interop.echo", &echo{})
	client.Register("interop.sub", &subtract{})
	client.Register("interop.total", func(numbers []interface{}) float64 {
		sum := 0.0
		for _, each := range numbers {
			sum += each.(float64)
		}
		return sum
	})
	client.Register("interop.fail", func(text string) string { panic(text) })
	client.Register("interop.nothing", func() {})
	client.Register("interop.keep", func(value float64, key string) float64 {
		store := pool(os.Getenv("STORE")).Get()
		defer store.Close()
		store.Do("RPUSH", key, value)
		return value
	})
	client.Register("interop.errback", func(failed string) string {
		store := pool(os.Getenv("STORE")).Get()
		defer store.Close()
		store.Do("RPUSH", "interop-errbacks-"+queue(), failed)
		return failed
	})
	client.Register("interop.now", func() float64 { return float64(time.Now().UnixNano()) / 1e9 })
	client.StartWorker()
	fmt.Println("interop: ready")
	client.WaitForStopWorker()
}

type ask struct {
	Op      string
	Task    string
	Args    []interface{}
	Kwargs  map[string]interface{}
	Options map[string]interface{}
	Timeout float64
	Get     *bool
}

type answer map[string]interface{}

func call(client *gocelery.CeleryClient, asked ask) answer {
	for name := range asked.Options {
		return answer{"cannot": "gocelery has no option " + name}
	}
	var result *gocelery.AsyncResult
	var err error
	if len(asked.Kwargs) > 0 {
		result, err = client.DelayKwargs(asked.Task, asked.Kwargs)
	} else {
		result, err = client.Delay(asked.Task, asked.Args...)
	}
	if err != nil {
		return answer{"error": err.Error()}
	}
	if asked.Get != nil && !*asked.Get {
		return answer{"id": result.TaskID}
	}
	// Over AMQP its Get never returns when no result comes, whatever its timeout says.
	done := make(chan answer, 1)
	go func() {
		value, err := result.Get(time.Duration(asked.Timeout * float64(time.Second)))
		if err != nil {
			done <- answer{"id": result.TaskID, "late": true}
			return
		}
		done <- answer{"id": result.TaskID, "state": "SUCCESS", "value": value}
	}()
	select {
	case said := <-done:
		return said
	case <-time.After(time.Duration((asked.Timeout + 0.5) * float64(time.Second))):
		return answer{"id": result.TaskID, "late": true}
	}
}

func produce() {
	client, err := gocelery.NewCeleryClient(broker(false), backend(), 0)
	if err != nil {
		panic(err)
	}
	out := json.NewEncoder(os.Stdout)
	out.Encode(answer{"ready": true})
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var asked ask
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			out.Encode(answer{"error": err.Error()})
		} else if asked.Op != "call" {
			out.Encode(answer{"cannot": "gocelery has no " + asked.Op})
		} else {
			out.Encode(call(client, asked))
		}
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		work()
		return
	}
	produce()
}
