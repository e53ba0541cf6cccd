// Compiled, never run: what users write must be well-typed, and what they must not write is an error.
import {
  AgentCoreClient,
  AgentCoreError,
  AgentEvent,
  AgentStream,
  type AwsCredentials,
  type ClientOptions,
  type Delivery,
  type ErrorKind,
  errorResponse,
  InvokeResponse,
  RequestTimeoutError,
  RuntimeArn,
  readJson,
  SessionId,
  type StreamEnd,
} from "agentcore-client";
import { toUIMessageStream, toUIMessageStreamResponse } from "agentcore-client/ai-sdk";
import {
  Refused,
  type RelayMessage,
  type RelayResponse,
  WebSocketRelay,
} from "agentcore-client/apigateway";
import { type FunctionUrlEvent, streamHandler } from "agentcore-client/lambda";
import { type JournalEntry, LocalDataPlane } from "agentcore-client/testing";

interface Prompt {
  prompt: string;
}

// The AWS SDK's providers take arguments that may be left out.
declare function fromNodeProviderChain(): (
  properties?: Record<string, unknown>,
) => Promise<{ accessKeyId: string; secretAccessKey: string; readonly accountId?: string }>;

export async function use(signal: AbortSignal, prompt: Prompt): Promise<string> {
  const options: ClientOptions = {
    runtimeArn: new RuntimeArn("arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/a-b"),
    timeouts: { connect: 1000, idle: null, deadline: new Date() },
    credentials: fromNodeProviderChain(),
  };
  await using client = new AgentCoreClient(options);
  new AgentCoreClient();
  new AgentCoreClient({ bearerToken: async () => "token", qualifier: undefined });
  new AgentCoreClient({ credentials: { accessKeyId: "a", secretAccessKey: "b" } });

  const reply: InvokeResponse = await client.invoke(prompt, {
    sessionId: SessionId.derive("secret", "tenant", "user"),
    signal,
    headers: new Headers(),
  });
  const text: string | undefined = reply.text;
  const value = reply.json<{ answer: number }>();
  value.answer.toFixed();
  const unknownValue: unknown = reply.json();
  const bytes: Uint8Array = reply.bytes;

  await using stream: AgentStream = await client.stream("Hi", {
    sessionId: reply.sessionId,
    headers: { a: "b" },
    stopOnClose: true,
  });
  for await (const event of stream) {
    const typed: AgentEvent = event;
    process.stdout.write(typed.text ?? "");
    if (typeof event.data === "string") event.data.toUpperCase();
  }
  for await (const delta of stream.textDeltas()) delta.toUpperCase();
  const end: StreamEnd | undefined = stream.end;
  const response: Response = stream.toResponse({ status: 201 }, { heartbeat: 15_000 });
  const body: ReadableStream<Uint8Array> = stream.toReadableStream();
  const texts: ReadableStream<string> = stream.toTextStream();
  const stopping: Promise<void> = client.stopSession(reply.sessionId, { retry: "never" });
  await stopping;

  try {
    await client.withOptions({ qualifier: "prod" }).invoke(Uint8Array.of(1));
  } catch (error) {
    if (error instanceof RequestTimeoutError) error.limit?.toUpperCase();
    if (error instanceof AgentCoreError) {
      const kind: ErrorKind = error.kind;
      const delivery: Delivery = error.delivery;
      const pause: number | undefined = error.attempts[0]?.pause;
      if (error.code === "CLOSED") return `${kind} ${delivery} ${pause} ${error.status?.toFixed()}`;
      // @ts-expect-error: there is no such code
      if (error.code === "Closed") return "";
    }
  }

  // @ts-expect-error: no such option
  await client.invoke("x", { sesionId: "y" });
  // @ts-expect-error: a payload is needed
  await client.invoke(undefined);
  // @ts-expect-error: not an option of invoke
  await client.invoke("x", { stopOnClose: true });
  // @ts-expect-error: no such policy
  new AgentCoreClient({ retry: "always" });
  // @ts-expect-error: read-only
  reply.status = 5;
  // @ts-expect-error: only a call makes one
  new AgentStream();
  // @ts-expect-error: only a call makes one
  new InvokeResponse();
  // @ts-expect-error: only a stream makes one
  new AgentEvent();
  const made: boolean = stream instanceof AgentStream && reply instanceof InvokeResponse;
  const credentials: AwsCredentials = { accessKeyId: "a", secretAccessKey: "b" };

  await using plane = await LocalDataPlane.start({ bearer: true });
  new AgentCoreClient(plane.clientOptions());
  await plane.addFault({ status: 429, code: "ThrottlingException" });
  const entry: JournalEntry = await plane.waitFor(({ kind }) => kind === "disconnect");
  return `${text} ${unknownValue} ${bytes} ${end} ${response} ${body} ${texts} ${credentials} ${entry} ${made}`;
}

interface IamEvent extends FunctionUrlEvent {
  requestContext: FunctionUrlEvent["requestContext"] & { authorizer: { iam: { userId: string } } };
}

export const handler = streamHandler(
  async (
    request,
    {
      event,
      timeouts,
      signal,
    }: { event: IamEvent; timeouts: { deadline: number }; signal: AbortSignal },
  ) => {
    const { prompt } = await readJson<Prompt>(request, { limit: 1000 });
    const client = new AgentCoreClient();
    const stream = await client.stream(prompt, {
      sessionId: event.requestContext.authorizer.iam.userId,
      timeouts,
      signal,
    });
    if (prompt === "")
      return toUIMessageStreamResponse(stream, { heartbeat: 1_000, toPart: (one) => one.text });
    const parts: ReadableStream<{ type: string }> = toUIMessageStream(stream);
    return prompt === "x" ? stream : errorResponse(parts, { status: 500 });
  },
  { heartbeat: 15_000, margin: 500 },
);

export async function relayed(client: AgentCoreClient): Promise<RelayResponse> {
  const relay = new WebSocketRelay(client, {
    secret: new Uint8Array(32),
    allowedOrigins: ["https://chat.example.com"],
    principal: (event) => (typeof event["a"] === "string" ? event["a"] : undefined),
    payload(body: unknown, message: RelayMessage) {
      if (message.principal === undefined) throw new Refused("no");
      return { body };
    },
    claim: async (nonce: string) => nonce !== "",
    secondStage: "never",
    heartbeat: 1000,
  });
  new WebSocketRelay(client);
  return relay.handle({}, { getRemainingTimeInMillis: () => 1, invokedFunctionArn: "arn" });
}
