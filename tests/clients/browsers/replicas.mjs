// Two replicas that share a Redis server, behind HAProxy: what the suite takes for one service.
import { rmSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, Servers } from "./servers.mjs";
import { Tokenrill, until } from "./support.mjs";

export class Replicas {
  #servers = new Servers();

  static async start(program, environment) {
    const replicas = new Replicas();
    replicas.folder = await mkdtemp(join(tmpdir(), "tokenrill-replicas-"));
    const redis = await freePort();
    const options = ["--port", redis, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"];
    await replicas.#servers.start("redis-server", options, redis);
    const shared = {
      TOKENRILL_EVENT_LOG__BACKEND: "redis",
      TOKENRILL_EVENT_LOG__REDIS__URL_ENV: "REDIS_URL",
      REDIS_URL: `redis://127.0.0.1:${redis}`,
    };
    replicas.all = [
      await Tokenrill.start(program, { ...environment, ...shared }),
      await Tokenrill.start(program, { ...environment, ...shared }),
    ];
    for (const { url } of replicas.all) await until(async () => (await fetch(`${url}/readyz`)).ok, "a ready replica");
    replicas.port = await freePort();
    const file = join(replicas.folder, "haproxy.cfg");
    // Each request to the next replica, whichever had the one before.
    await writeFile(file, `defaults
  mode http
  option abortonclose
  timeout connect 5s
  timeout client 1m
  timeout server 1m
frontend in
  bind 127.0.0.1:${replicas.port}
  default_backend out
backend out
  balance roundrobin
${replicas.all.map(({ port }, at) => `  server replica${at} 127.0.0.1:${port}\n`).join("")}`);
    replicas.url = await replicas.#servers.start("haproxy", ["-f", file], replicas.port);
    return replicas;
  }

  /** The sum over both. */
  async metric(name) {
    const values = await Promise.all(this.all.map((replica) => replica.metric(name)));
    return values.reduce((sum, value) => sum + value, 0);
  }

  stop() {
    for (const replica of this.all) replica.stop();
    this.#servers.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
