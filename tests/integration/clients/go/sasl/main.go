// A login by sarama, and nothing else. Arguments: ADDRESS MECHANISM HANDSHAKE(0|1) USER PASSWORD.
package main

import (
	"fmt"
	"os"

	"github.com/IBM/sarama"
)

func main() {
	c := sarama.NewConfig()
	c.Version = sarama.V2_0_0_0
	c.Net.SASL.Enable = true
	c.Net.SASL.Mechanism = sarama.SASLMechanism(os.Args[2])
	c.Net.SASL.Version = sarama.SASLHandshakeV0
	c.ApiVersionsRequest = os.Args[3] == "1"
	if os.Args[3] == "1" {
		c.Net.SASL.Version = sarama.SASLHandshakeV1
	}
	c.Net.SASL.User, c.Net.SASL.Password = os.Args[4], os.Args[5]
	b := sarama.NewBroker(os.Args[1])
	if err := b.Open(c); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	ok, err := b.Connected()
	if !ok || err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("logged in")
}
