// Sends requests with the credentials of the page's user, also when a token expires while an answer runs.

export interface Access {
  /** Request headers, asked for before each request. `expired` is true after the service has refused the last ones as expired. */
  headers?: (expired: boolean) => Record<string, string> | Promise<Record<string, string>>;
  /** `include` where the session is in a cookie. */
  credentials?: RequestCredentials;
}

/** A `fetch` with these credentials. It repeats a request once with new headers if the token has expired. */
export function fetchWith({ headers = () => ({}), credentials = "same-origin" }: Access): typeof fetch {
  return async (input, init) => {
    const attempt = async (expired: boolean): Promise<Response> => {
      const sent = new Headers(init?.headers);
      for (const [name, value] of Object.entries(await headers(expired))) sent.set(name, value);
      return fetch(input, { ...init, credentials, headers: sent });
    };
    const response = await attempt(false);
    if (response.status !== 401) return response;
    // A problem, or an event stream with one `failed` event: both hold the reason.
    const expired = (await response.clone().text()).includes('"reason":"token_expired"');
    return expired ? attempt(true) : response;
  };
}
