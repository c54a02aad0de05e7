// What is asked of the server, and its errors as messages for people.

export class Told extends Error {}

async function failure(response) {
  let message = `the server answered ${response.status}`;
  try {
    message = (await response.json()).error ?? message;
  } catch {
    // not ours: the number has to do
  }
  return new Told(message);
}

async function answered(url, options = {}) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Told("the server does not answer; is `audiocodec demo` still running?");
  }
  if (!response.ok) throw await failure(response);
  return response;
}

export const getJson = async (url, options) => (await answered(url, options)).json();
export const postJson = async (url, options) => (await answered(url, { ...options, method: "POST" })).json();

export async function getAudio(url, options) {
  const response = await answered(url, options);
  const number = (name) => Number(response.headers.get(name) ?? 0);
  return { data: await response.arrayBuffer(), packets: number("x-packets"), lost: number("x-lost") };
}

export const place = (key, what, query = {}) =>
  `/api/recordings/${encodeURIComponent(key)}/${what}?${new URLSearchParams(query)}`;

// XMLHttpRequest, as fetch does not tell how much of an upload is done.
export function upload(file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/recordings?${new URLSearchParams({ name: file.name })}`);
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onerror = () => reject(new Told("the upload broke off; is `audiocodec demo` still running?"));
    request.onload = () => {
      if (request.status === 201) resolve(request.response);
      else reject(new Told(request.response?.error ?? `the server answered ${request.status}`));
    };
    request.send(file);
  });
}

export const forget = (key) => navigator.sendBeacon(place(key, "forget"));
