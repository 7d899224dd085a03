// kafkajs: reads a topic in a group, each record once and each partition in its order. Arguments: BOOTSTRAP TOPIC COUNT.
'use strict';
const { Kafka, logLevel } = require('kafkajs');

const [bootstrap, topic, countText] = process.argv.slice(2);
const count = Number(countText);

async function main() {
  const kafka = new Kafka({ clientId: 'kafkajs', brokers: bootstrap.split(','), logLevel: logLevel.ERROR });
  const consumer = kafka.consumer({ groupId: `${topic}-${process.pid}-${Date.now()}` });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const next = new Map();
  let records = 0;
  let size = 0;
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`${records} of ${count} records came`)), 500000).unref();
    consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        const expected = next.get(partition) || 0;
        if (Number(message.offset) !== expected) reject(new Error(`partition ${partition}: offset ${message.offset}, not ${expected}`));
        next.set(partition, expected + 1);
        size += message.value.length;
        records += 1;
        if (records === count) resolve();
      },
    }).catch(reject);
  });
  console.log(JSON.stringify({ records, bytes: size }));
  process.exit(0);
}

main().catch((why) => {
  console.error(String((why && why.stack) || why));
  process.exit(1);
});
