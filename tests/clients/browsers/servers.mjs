// Servers of others, which the suites start: proxies, Redis.
import { spawn } from "node:child_process";
import net from "node:net";
import { lastLines, until } from "./support.mjs";

/** A port below the range from which the kernel takes the ports of connections: no other test takes it meanwhile. */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 10_000);
    const server = net.createServer();
    const isFree = await new Promise((resolve) => {
      server.on("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((closed) => server.close(closed));
    return port;
  }
}

/** The servers that one suite has started. */
export class Servers {
  #running = [];

  /** Starts a server and waits until it accepts connections; its URL. */
  async start(command, args, port) {
    // Debian keeps servers where only root looks.
    const env = { PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
    const server = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    const output = lastLines(server);
    let failure;
    server.on("error", (error) => (failure = error.message)).on("exit", (code) => (failure = `ended with ${code}`));
    this.#running.push(server);
    const accepts = () => new Promise((resolve) => net.connect(port, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false)));
    try {
      await until(async () => {
        if (failure) throw new Error(failure);
        return accepts();
      }, command);
    } catch (error) {
      throw new Error(`${command} does not start: ${error.message}\n${output()}`);
    }
    return `http://127.0.0.1:${port}`;
  }

  stop() {
    for (const server of this.#running) server.kill("SIGTERM");
  }
}
