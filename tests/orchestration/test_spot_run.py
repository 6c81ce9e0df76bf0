"""A whole attempt on one machine, without Ray, whose cloud takes it away."""

from launcher.core.recipe_running import ClusterWish
from tests.orchestration.a_metadata_service import AMetadataService
from tests.orchestration.scenes import go_of, plan_of
from tests.orchestration.test_run_without_ray import Scene


class SpotScene(Scene):
    def go(self, plan):
        return go_of(self.run.path, plan).model_copy(update={"wish": ClusterWish(spot="azure")})


def test_a_run_on_a_machine_that_is_taken_away_saves_and_yields(tmp_path, monkeypatch):
    with AMetadataService() as clouds:
        clouds.machine("desk").announce("Preempt", 60.0)
        monkeypatch.setenv("LAUNCHER_SPOT_URL", clouds.url("desk"))
        scene = SpotScene(tmp_path)
        assert scene.play(plan_of(("one", 100000))) == 75
    (noticed,), (asked,) = scene.events("spot_notice"), scene.events("stop_requested")
    assert (noticed["node"], noticed["notice"]) == ("here", "Preempt")
    assert asked["reason"] == "spot_notice" and asked["deadline"] == noticed["deadline"] > asked["time"]
    assert scene.ended() == ("yielded", 75) and not scene.events("failure")
