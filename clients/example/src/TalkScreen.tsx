// The avatar, what it can say, and how it is stopped.

import {
  AvatarView,
  sendAudio,
  type AvatarError,
  type AvatarHandle,
  type AvatarOptions,
  type PlayerState,
  type Session,
} from "@musetalk-stream/react-native";
import { useRef, useState, type ReactElement } from "react";
import { ScrollView, StyleSheet, Text, View } from "react-native";

import { Button } from "./Button";
import { renewToken, type Choice } from "./backend";
import { SENTENCES, chooseSound, type Sound } from "./sounds";
import { BOTTOM, TOP, colors } from "./theme";
import { CLOSED_WORDS, STATE_WORDS, wordsOf, wordsOfAvatar } from "./words";

interface TalkScreenProps {
  readonly choice: Choice;
  readonly session: Session;
  /** The conversation is over; `notice` says why, where the user does not know. */
  readonly onEnd: (notice: string | null) => void;
}

export function TalkScreen({ choice, session, onEnd }: TalkScreenProps): ReactElement {
  const { server } = choice;
  const avatar = useRef<AvatarHandle>(null);
  const said = useRef<Sound | null>(null);
  const [state, setState] = useState<PlayerState>("loading");
  const [options, setOptions] = useState<AvatarOptions>({ muted: false, captions: true });
  const [isSending, setIsSending] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);
  const [token, setToken] = useState<string | null>(null); // after that of the session

  async function say(sound: Sound): Promise<void> {
    said.current = sound;
    setIsSending(true);
    setFailure(null);
    try {
      const { captions } = sound;
      const file = await sound.file();
      await sendAudio(server, session, file, { on_busy: "replace", ...(captions && { captions }) });
    } catch (error) {
      setFailure(wordsOf(error));
    } finally {
      setIsSending(false);
    }
  }

  async function choose(): Promise<void> {
    const sound = await chooseSound();
    if (sound) await say(sound);
  }

  async function renew(): Promise<void> {
    try {
      setToken(await renewToken(choice, session));
      setFailure(null);
    } catch (error) {
      setFailure(wordsOf(error));
    }
  }

  function fail(error: AvatarError): void {
    setFailure(wordsOfAvatar(error));
    if (error.code === "token_expired" || error.code === "not_allowed") void renew();
    if (error.type === "view_error" && error.will_retry) setState("loading");
  }

  const isTalking = state === "preparing" || state === "speaking" || state === "buffering";
  return (
    <View style={styles.screen}>
      <AvatarView
        ref={avatar}
        style={styles.avatar}
        server={server}
        session={session}
        {...(token !== null && { token })}
        options={options}
        onReady={() => setFailure(null)}
        onStateChange={(message) => setState(message.state)}
        onVolume={({ muted }) => setOptions((before) => ({ ...before, muted }))}
        onRetry={() => said.current && void say(said.current)}
        onError={fail}
        onClosed={({ reason }) => onEnd(CLOSED_WORDS[reason])}
      />
      <View style={styles.panel}>
        <View style={styles.line}>
          <Text style={styles.state} role="status">
            {STATE_WORDS[state]}
          </Text>
          <Button
            title="Sound"
            selected={!options.muted}
            onPress={() => setOptions({ ...options, muted: !options.muted })}
          />
          <Button
            title="Captions"
            selected={options.captions === true}
            onPress={() => setOptions({ ...options, captions: !options.captions })}
          />
        </View>
        {failure && (
          <Text style={styles.failure} role="alert" numberOfLines={3}>
            {failure}
          </Text>
        )}
        <ScrollView horizontal showsHorizontalScrollIndicator={false} contentContainerStyle={styles.row}>
          {SENTENCES.map((sound) => (
            <Button
              key={sound.title}
              title={sound.title}
              disabled={isSending}
              onPress={() => void say(sound)}
            />
          ))}
          <Button title="Choose a file…" disabled={isSending} onPress={() => void choose()} />
        </ScrollView>
        <View style={styles.line}>
          <View style={styles.wide}>
            <Button
              look="danger"
              title="Stop"
              disabled={!isTalking}
              onPress={() => avatar.current?.interrupt()}
            />
          </View>
          <Button title="End" onPress={() => onEnd(null)} />
        </View>
      </View>
    </View>
  );
}

const styles = StyleSheet.create({
  screen: { flex: 1, paddingTop: TOP },
  avatar: { flex: 1 },
  panel: { padding: 16, paddingBottom: BOTTOM, gap: 12 },
  line: { flexDirection: "row", alignItems: "center", gap: 8 },
  row: { gap: 8 },
  wide: { flex: 1 },
  state: { flex: 1, color: colors.text, fontSize: 17, fontWeight: "600" },
  failure: { color: colors.danger, fontSize: 15, lineHeight: 21 },
});
