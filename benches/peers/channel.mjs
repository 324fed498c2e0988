// What a front-end team writes by hand: every POST goes to every open stream. No history, no ids to come back by, no
// limits, no heartbeats.
import { createServer } from "node:http";

const streams = new Set();
let last = 0;

createServer((request, response) => {
  if (request.method === "GET") {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
    response.write("event: connected\ndata: {}\n\n");
    streams.add(response);
    return response.on("close", () => streams.delete(response));
  }
  let body = "";
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () => {
    const event = `data: ${JSON.stringify(JSON.parse(body).data)}\nid: ${++last}\n\n`;
    for (const stream of streams) stream.write(event);
    response.writeHead(200, { "content-type": "application/json" });
    response.end(`{"id":"${last}"}`);
  });
}).listen(0, "127.0.0.1", function () {
  console.log(`node listens on http://127.0.0.1:${this.address().port}`);
});
