// Headers with a token that the page's own server hands out to its user, for example at `/token`:
//   await ask(service, { input: "Hello" }, reader, { headers: bearerFrom("/token") });
import type { Access } from "./access";

/** Keeps the token until the service has refused it as expired: a stop at the end of a page cannot wait for a new one. */
export function bearerFrom(url: string): NonNullable<Access["headers"]> {
  let headers: Promise<Record<string, string>> | undefined;
  const request = async (): Promise<Record<string, string>> => {
    const response = await fetch(url, { method: "POST" });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return { Authorization: `Bearer ${await response.text()}` };
  };
  return (expired) => {
    if (expired) headers = undefined;
    // A token that could not be had is requested again with the next request.
    headers ??= request().catch((error: unknown) => {
      headers = undefined;
      throw error;
    });
    return headers;
  };
}
