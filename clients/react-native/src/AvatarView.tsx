// A session's avatar as a view: the player page in a WebView that stays alive.

import {
  forwardRef,
  useCallback,
  useEffect,
  useImperativeHandle,
  useMemo,
  useRef,
  useState,
  type ForwardedRef,
  type ReactElement,
} from "react";
import { StyleSheet, View, type StyleProp, type ViewStyle } from "react-native";
import { WebView, type WebViewMessageEvent, type WebViewProps } from "react-native-webview";

import { idOf, isOfServer, pageTokenOf, playerAddress, type SessionRef } from "./addresses.js";
import { Choices } from "./choices.js";
import { commandText } from "./commands.js";
import { Loader, type LoadError } from "./loader.js";
import { parseMessage, type PlayerMessage } from "./messages.js";
import type { AvatarOptions } from "./options.js";
import { interrupt } from "./session-api.js";
import { useIsForeground } from "./use-is-foreground.js";
import { useLatest } from "./use-latest.js";
import { WEBVIEW_FLAGS } from "./webview-flags.js";

/** What failed: an utterance, as the player says it (`type: "error"`), or the view itself. */
export type AvatarError = PlayerMessage<"error"> | ViewError;

export interface ViewError extends Omit<LoadError, "code"> {
  readonly type: "view_error";
  readonly code: LoadError["code"] | "interrupt_failed";
}

export interface AvatarHandlers {
  readonly onReady?: (message: PlayerMessage<"ready">) => void;
  readonly onStateChange?: (message: PlayerMessage<"state">) => void;
  readonly onSpeechStarted?: (message: PlayerMessage<"speech_started">) => void;
  readonly onSpeechEnded?: (message: PlayerMessage<"speech_ended">) => void;
  readonly onConnection?: (message: PlayerMessage<"connection">) => void;
  readonly onSound?: (message: PlayerMessage<"sound">) => void;
  readonly onVolume?: (message: PlayerMessage<"volume">) => void;
  readonly onRecording?: (message: PlayerMessage<"recording">) => void;
  readonly onRetry?: (message: PlayerMessage<"retry">) => void;
  readonly onError?: (error: AvatarError) => void;
  readonly onClosed?: (message: PlayerMessage<"closed">) => void;
  /** Each of them, before its own handler: for a log. */
  readonly onMessage?: (message: PlayerMessage) => void;
}

export interface AvatarViewProps extends AvatarHandlers {
  /** The server's address, with the path that it is mounted at: `https://example.com/avatar`. */
  readonly server: string;
  readonly session: SessionRef;
  /**
   * What lets the page in, where that is not the session's own. Another one takes its place without
   * the page being loaded again: give it before the last one expires.
   */
  readonly token?: string;
  readonly options?: AvatarOptions;
  /** Whether speech goes on unheard while the app is in the background. By default it does. */
  readonly muteInBackground?: boolean;
  readonly style?: StyleProp<ViewStyle>;
  readonly testID?: string;
  /** What else the WebView should be told, as `ignoreSilentHardwareSwitch`. */
  readonly webViewProps?: Omit<WebViewProps, OwnProp>;
}

/** What makes a WebView an avatar's, and stays as it is. */
type OwnProp =
  | keyof typeof WEBVIEW_FLAGS
  | "source"
  | "originWhitelist"
  | "onShouldStartLoadWithRequest"
  | "onMessage"
  | "onError"
  | "onHttpError"
  | "onContentProcessDidTerminate"
  | "onRenderProcessGone"
  | "renderError";

export interface AvatarHandle {
  /** Silence at once. That nothing was said is no failure; any other is an `onError`. */
  interrupt(): void;
  /** Until the view is given other `options`. */
  set(options: AvatarOptions): void;
  /** Load the page anew, also where the view had given up. */
  reload(): void;
}

interface Page {
  readonly number: number;
  readonly address: string;
}

export const AvatarView = forwardRef(function AvatarView(
  props: AvatarViewProps,
  ref: ForwardedRef<AvatarHandle>,
): ReactElement {
  const { server, session, options = {}, muteInBackground = true } = props;
  const sessionId = idOf(session);
  const address = playerAddress(server, session);
  const token = props.token ?? pageTokenOf(session);
  const webView = useRef<WebView>(null);
  const [page, setPage] = useState<Page | null>(null);
  const numPages = useRef(0);
  const [extra, setExtra] = useState<{ over: string; options: AvatarOptions } | null>(null);
  const isForeground = useIsForeground();

  const given = JSON.stringify(options);
  const wanted = extra?.over === given ? { ...options, ...extra.options } : options;
  const latest = useLatest({ ...props, given, pageToken: token });

  // One of each for each session: what happened to the page of another one does not count.
  const choices = useMemo(() => new Choices(), [address]);
  const loader = useMemo(
    () =>
      new Loader({
        onLoad: () => {
          const { pageToken } = latest.current;
          const admits = pageToken === null ? "" : `token=${encodeURIComponent(pageToken)}`;
          const query = [choices.load(), admits].filter(Boolean).join("&");
          numPages.current += 1;
          setPage({ number: numPages.current, address: query ? `${address}?${query}` : address });
        },
        onUnload: () => {
          choices.unload();
          setPage(null);
        },
        onError: (error) => latest.current.onError?.({ type: "view_error", ...error }),
      }),
    [address, choices, latest],
  );

  const tellOptions = useCallback((): void => {
    const changes = choices.changes();
    if (changes) webView.current?.postMessage(commandText("set", changes));
  }, [choices]);

  useEffect(() => {
    choices.want(wanted, muteInBackground && !isForeground);
    tellOptions();
  });
  useEffect(() => loader.setForeground(isForeground), [loader, isForeground]);
  useEffect(() => {
    loader.reload();
    return () => loader.stop();
  }, [loader]);
  useEffect(() => {
    if (token === null || loader.admitted() || !choices.isListening) return;
    webView.current?.postMessage(commandText("set", { token }));
  }, [choices, loader, token]);

  const take = useCallback(
    ({ nativeEvent }: WebViewMessageEvent): void => {
      if (!isOfServer(server, nativeEvent.url)) return;
      const message = parseMessage(nativeEvent.data, sessionId);
      if (message === null) return;
      loader.heard();
      if (message.type === "ready") loader.ready();
      if (message.type === "closed") loader.over();
      choices.listens();
      const told = message.type === "volume" ? choices.heard(message) : message;
      tellOptions();
      if (told) tell(latest.current, told);
    },
    [choices, latest, loader, server, sessionId, tellOptions],
  );

  const interruptByServer = useCallback(async (): Promise<void> => {
    try {
      const { session: its, pageToken } = latest.current;
      const authorization = pageToken === null ? {} : { authorization: `Bearer ${pageToken}` };
      await interrupt(server, its, authorization);
    } catch (error) {
      const { message } = error as Error;
      const words = { code: "interrupt_failed", message, status: null, will_retry: false } as const;
      latest.current.onError?.({ type: "view_error", ...words });
    }
  }, [latest, server]);

  useImperativeHandle(
    ref,
    () => ({
      interrupt: () => {
        if (choices.isListening) webView.current?.postMessage(commandText("interrupt", {}));
        else void interruptByServer(); // the page is not there, but what it will say is
      },
      set: (more) => {
        choices.insist(more);
        setExtra((last) => {
          const over = latest.current.given;
          const before = last?.over === over ? last.options : {};
          return { over, options: { ...before, ...more } };
        });
      },
      reload: () => loader.reload(),
    }),
    [choices, interruptByServer, latest, loader],
  );

  return (
    // Not `accessible`: it would be one thing for a screen reader, without the buttons of the page.
    <View style={[styles.view, props.style]} testID={props.testID}>
      {page && (
        <WebView
          {...props.webViewProps}
          {...WEBVIEW_FLAGS}
          key={page.number}
          ref={webView}
          source={{ uri: page.address }}
          // What is not in this list is opened in the system's browser: so all is, and refused here.
          originWhitelist={EVERYTHING}
          onShouldStartLoadWithRequest={({ url }) => isOfServer(server, url)}
          onMessage={take}
          onError={({ nativeEvent }) => loader.unreachable(nativeEvent.description)}
          onHttpError={({ nativeEvent }) => loader.refused(nativeEvent.statusCode)}
          onContentProcessDidTerminate={() => loader.lost()}
          onRenderProcessGone={() => loader.lost()}
          renderError={() => <View />}
        />
      )}
    </View>
  );
});

const EVERYTHING = ["*"];

function tell(handlers: AvatarHandlers, message: PlayerMessage): void {
  handlers.onMessage?.(message);
  switch (message.type) {
    case "ready":
      return handlers.onReady?.(message);
    case "state":
      return handlers.onStateChange?.(message);
    case "speech_started":
      return handlers.onSpeechStarted?.(message);
    case "speech_ended":
      return handlers.onSpeechEnded?.(message);
    case "connection":
      return handlers.onConnection?.(message);
    case "sound":
      return handlers.onSound?.(message);
    case "volume":
      return handlers.onVolume?.(message);
    case "recording":
      return handlers.onRecording?.(message);
    case "retry":
      return handlers.onRetry?.(message);
    case "error":
      return handlers.onError?.(message);
    case "closed":
      return handlers.onClosed?.(message);
  }
}

const styles = StyleSheet.create({
  view: { flex: 1, overflow: "hidden", backgroundColor: "transparent" },
});
