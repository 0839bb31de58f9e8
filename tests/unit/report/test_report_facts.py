from vfmseg.metrics.scores import majority_baseline
from vfmseg.report.evaluation import evaluate
from vfmseg.report.facts import Fact, Headline, facts, headline, status, title
from vfmseg.report.run_folder import read_run


def scored(run):
    return evaluate(run.validation)


def test_title__encoder_tuning_decoder(run_folder):
    assert title(read_run(run_folder)) == "dinov2-s × full × linear"


def test_title__recipe_that_says_nothing(tmp_path):
    (tmp_path / "recipe.yaml").write_text("seed: 1\n", encoding="utf-8")
    assert title(read_run(tmp_path)) == tmp_path.name


def test_facts__of_a_finished_run(run_folder):
    assert facts(read_run(run_folder)) == [
        Fact("Encoder", "dinov2-s", "image 64 × 96, patch 16"),
        Fact("Tuning", "full"),
        Fact("Decoder", "linear"),
        Fact("Data", "scenes", "data.zip"),
        Fact("Images a step", "16"),
        Fact("Learning rate", "1e-4"),
        Fact("Steps", "200", "best at 160"),
        Fact("Time", "1\u00a0h 13\u00a0min"),
        Fact("Training speed", "20.5 images/s"),
        Fact("Peak memory", "3.51\u00a0GiB"),
        Fact("Trainable parameters", "1.23\u00a0M", "5.6\u00a0% of 22.1\u00a0M"),
        Fact("Seed", "7"),
        Fact("Device", "a card", "× 2"),
        Fact("Commit", "0123456789"),
        Fact("Started", "2026-01-02 03:04"),
        Fact("Versions", "vfmseg 0.1.0, torch 2.6.0"),
    ]


def test_facts__of_a_running_run_come_from_its_history(run_folder):
    (run_folder / "result.json").unlink()
    (run_folder / "metrics.csv").write_text(
        "step,time_s,images_per_s,memory_gib\n50,90,7,2\n", encoding="utf-8"
    )
    found = {fact.name: fact.value for fact in facts(read_run(run_folder))}
    assert found["Steps"] == "50 of 200"
    assert found["Time"] == "1\u00a0min 30\u00a0s"
    assert found["Training speed"] == "7 images/s"
    assert found["Peak memory"] == "2\u00a0GiB"
    assert "Trainable parameters" not in found


def test_status__finished_or_how_far(run_folder):
    assert status(read_run(run_folder)) == "finished"
    (run_folder / "result.json").unlink()
    assert status(read_run(run_folder)) == "unfinished: step 200 of 200"
    (run_folder / "metrics.csv").unlink()
    assert status(read_run(run_folder)) == "unfinished: step 0 of 200"


def test_headline__last_validation_with_best_and_baseline(run_folder):
    run = read_run(run_folder)
    baseline = majority_baseline(run.validation.counts.confusion)
    assert headline(run, scored(run)) == Headline(0.4, 200, 0.5, 160, baseline, "road")


def test_headline__running_run_takes_its_curve(run_folder):
    (run_folder / "result.json").unlink()
    (run_folder / "validation.json").unlink()
    (run_folder / "metrics.csv").write_text("step,val/miou\n50,0.3\n100,0.2\n", encoding="utf-8")
    assert headline(read_run(run_folder), None) == Headline(0.2, 100, 0.3, 50, None, "")


def test_headline__of_other_tasks_has_no_baseline(panoptic_folder):
    run = read_run(panoptic_folder)
    assert headline(run, scored(run)) == Headline(0.43, 200, 0.5, 160)


def test_headline__with_the_attention_masks_of_the_same_validation(instance_folder):
    (instance_folder / "result.json").unlink()
    (instance_folder / "metrics.csv").write_text(
        "step,val/ap,val_masked/ap\n50,0.3,0.4\n100,0.2,0.35\n", encoding="utf-8"
    )
    assert headline(read_run(instance_folder), None) == Headline(0.2, 100, 0.3, 50, masked=0.35)


def test_headline__validation_alone(run_folder):
    (run_folder / "result.json").unlink()
    (run_folder / "metrics.csv").unlink()
    run = read_run(run_folder)
    found = headline(run, scored(run))
    assert found is not None
    assert (found.score, found.step) == (scored(run).score, 160)


def test_headline__nothing_validated(tmp_path):
    (tmp_path / "recipe.yaml").write_text("seed: 1\n", encoding="utf-8")
    assert headline(read_run(tmp_path), None) is None
