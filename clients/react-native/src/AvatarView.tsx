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

import { idOf, isOfServer, playerAddress, type SessionRef } from "./addresses.js";
import { commandText, type CommandFields } from "./commands.js";
import { Loader, type LoadError } from "./loader.js";
import { parseMessage, type PlayerMessage } from "./messages.js";
import { changesBetween, queryOf, type AvatarOptions } from "./options.js";
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
  readonly options?: AvatarOptions;
  /** Whether speech goes on unheard while the app is in the background. By default it does. */
  readonly muteInBackground?: boolean;
  readonly style?: StyleProp<ViewStyle>;
  readonly accessibilityLabel?: string;
  readonly testID?: string;
  /** What else the WebView should be told, as `ignoreSilentHardwareSwitch`. */
  readonly webViewProps?: Omit<WebViewProps, "source" | "originWhitelist" | "onMessage">;
}

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
  const webView = useRef<WebView>(null);
  const [page, setPage] = useState<Page | null>(null);
  const numPages = useRef(0);
  const [extra, setExtra] = useState<{ over: string; options: AvatarOptions } | null>(null);
  const isForeground = useIsForeground();

  const given = JSON.stringify(options);
  const wanted = extra?.over === given ? { ...options, ...extra.options } : options;
  const latest = useLatest({ ...props, wanted, given });
  // What the page in the WebView was told; null until it listens.
  const known = useRef<AvatarOptions | null>(null);
  const toldByQuery = useRef<AvatarOptions>({});
  // Whether speech is heard, by the app's or the viewer's wish, and whether it is we who muted it.
  const isMuted = useRef(false);
  const isHushed = useRef(false);

  const post = useCallback(
    <T extends keyof CommandFields>(type: T, fields: CommandFields[T]): void =>
      webView.current?.postMessage(commandText(type, fields)),
    [],
  );

  const tellOptions = useCallback((): void => {
    if (known.current === null) return;
    const changes = changesBetween(known.current, latest.current.wanted);
    if (Object.keys(changes).length > 0) post("set", changes);
    known.current = latest.current.wanted;
  }, [latest, post]);

  const loader = useMemo(
    () =>
      new Loader({
        onLoad: () => {
          const now = latest.current;
          known.current = null;
          toldByQuery.current = now.wanted;
          isMuted.current = now.wanted.muted === true;
          isHushed.current = false;
          const address = playerAddress(now.server, now.session, queryOf(now.wanted));
          numPages.current += 1;
          setPage({ number: numPages.current, address });
        },
        onUnload: () => {
          known.current = null;
          setPage(null);
        },
        onError: (error) => latest.current.onError?.({ type: "view_error", ...error }),
      }),
    // One for each session: what happened to the page of another one does not count.
    [latest, server, sessionId],
  );

  useEffect(() => {
    loader.reload();
    return () => loader.stop();
  }, [loader]);
  useEffect(() => loader.setForeground(isForeground), [loader, isForeground]);
  useEffect(tellOptions, [tellOptions, JSON.stringify(wanted)]);
  useEffect(() => {
    if (isForeground && isHushed.current) {
      isHushed.current = false;
      post("set", { muted: latest.current.wanted.muted === true });
    } else if (!isForeground && muteInBackground && known.current !== null && !isMuted.current) {
      isHushed.current = true;
      post("set", { muted: true });
    }
  }, [isForeground, latest, muteInBackground, post]);

  const take = useCallback(
    ({ nativeEvent }: WebViewMessageEvent): void => {
      if (!isOfServer(server, nativeEvent.url)) return;
      const message = parseMessage(nativeEvent.data, sessionId);
      if (message === null) return;
      loader.heard();
      if (message.type === "ready") loader.ready();
      if (message.type === "closed") loader.over();
      if (message.type === "volume") isMuted.current = message.muted;
      known.current ??= toldByQuery.current;
      tellOptions();
      tell(latest.current, message);
    },
    [latest, loader, server, sessionId, tellOptions],
  );

  const interruptByServer = useCallback(async (): Promise<void> => {
    try {
      await interrupt(server, sessionId);
    } catch (error) {
      const { message } = error as Error;
      const words = { code: "interrupt_failed", message, status: null, will_retry: false } as const;
      latest.current.onError?.({ type: "view_error", ...words });
    }
  }, [latest, server, sessionId]);

  useImperativeHandle(
    ref,
    () => ({
      interrupt: () => {
        if (known.current !== null) post("interrupt", {});
        else void interruptByServer(); // the page is not there, but what it will say is
      },
      set: (more) =>
        setExtra((last) => {
          const over = latest.current.given;
          const before = last?.over === over ? last.options : {};
          return { over, options: { ...before, ...more } };
        }),
      reload: () => loader.reload(),
    }),
    [interruptByServer, latest, loader, post],
  );

  return (
    <View
      style={[styles.view, props.style]}
      accessible
      accessibilityRole="image"
      accessibilityLabel={props.accessibilityLabel ?? "Avatar"}
      testID={props.testID}
    >
      {page && (
        <WebView
          {...WEBVIEW_FLAGS}
          {...props.webViewProps}
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
